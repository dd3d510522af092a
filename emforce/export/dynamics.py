"""LAMMPS: the force per type in a field, for a script with units metal (eV, Å; a field in V/Å).

    F = e Z* E:  Z* × (V/Å) = eV/Å

`fix addforce` adds it to the force of the potential; `fix setforce` puts it in its place. The three components of the field are
index variables, so that `lmp -var emforce_Ex 1e-6` or an earlier line of the script sets them.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import InputError
from .parameters import Content, Number, comments, name_of, preface


def to_lammps(content: Content) -> str:
    """Lines for a LAMMPS input after its atoms are there; one type for each species."""
    taken: list[Number] = []
    forces: list[tuple[str, Number]] = []
    for row in content.rows:
        species = str(row["species"])
        if species in (name for name, _ in forces):
            both = "; ".join(f"{name_of(each)} ({each['preset']})" for each in content.rows if each["species"] == species)
            raise InputError("filter", " ".join(content.request.filters), f"one row for each species; these are several: {both}")
        p = content.parameters(row)
        z = p.z_star()
        p.check("LAMMPS")
        forces.append((species, z))
        if row["rho_uohm_cm"] is not None:
            p.rho()
        taken += [replace(number, name=f"{species}: {number.name}") for number in p.taken]
    remarks = [
        "units metal: emforce_Ex, _Ey, _Ez are the field in V/A, forces in eV/A; E = rho j: 1 uOhm cm and 1 MA/cm^2 give "
        "100 V/m = 1e-8 V/A",
        "the force along the hop stands for every direction (Z* as a scalar); it is that of the moving atom, not of an atom "
        "inside the crystal",
        "set emforce_type_* to the type of the moving atoms: atoms that are not meant to feel it need a type of their own",
    ]
    lines = comments(preface(content, taken, remarks), "#")
    lines += [f"variable emforce_E{axis} index 0.0" for axis in "xyz"]
    for number, (species, z) in enumerate(forces, start=1):
        name = f"emforce_{species}"
        force = " ".join(f"v_{name}_f{axis}" for axis in "xyz")
        lines += [
            f"variable emforce_type_{species} index {number}",
            f"variable {name}_Z equal {z.value!r}",
            *(f"variable {name}_f{axis} equal v_{name}_Z*v_emforce_E{axis}" for axis in "xyz"),
            f"group {name} type ${{emforce_type_{species}}}",
            f"fix {name} {name} addforce {force}",
            f"# in its place, the force of the field alone: fix {name} {name} setforce {force}",
        ]
    return "\n".join(lines)


__all__ = ["to_lammps"]
