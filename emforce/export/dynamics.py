"""LAMMPS: the force per type in a field, for a script with units metal (eV, Å; a field in V/Å).

    F = e Z* E:  Z* × (V/Å) = eV/Å

`fix addforce` adds it to the force of the potential; `fix setforce` puts it in its place. The three components of the field are
index variables, so that `lmp -var emforce_Ex 1e-6` or an earlier line of the script sets them.

On a surface whose drift differs between two crystal directions a and b (bcc(110), `emforce.drift`) Z* is a tensor,

    F = e (Z_a a a.E + Z_b b b.E),  a, b unit vectors in the surface; a field across the surface pushes nothing

and the components of a and b in the box are index variables too, of any length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..errors import InputError
from .parameters import Content, Number, comments, name_of, preface


def to_lammps(content: Content) -> str:
    """Lines for a LAMMPS input after its atoms are there; one type for each species."""
    taken: list[Number] = []
    forces: list[tuple[str, list[str]]] = []
    words: list[str] = []
    for row in content.rows:
        species = str(row["species"])
        if species in (name for name, _ in forces):
            both = "; ".join(f"{name_of(each)} ({each['preset']})" for each in content.rows if each["species"] == species)
            raise InputError("filter", " ".join(content.request.filters), f"one row for each species; these are several: {both}")
        p = content.parameters(row)
        z = p.z_star()
        p.check("LAMMPS")
        drifts = content.drifts(p)
        forces.append((species, _tensor(species, drifts) if drifts else _scalar(species, z)))
        words += [f"{species}: Z along {name} = {value!r} +- {sigma!r}, preset {preset}; variables {_stem(species, name)}_*"
                  for name, (value, sigma, preset) in drifts.items()]
        if row["rho_uohm_cm"] is not None:
            p.rho()
        taken += [replace(number, name=f"{species}: {number.name}") for number in p.taken]
    remarks = [
        "units metal: emforce_Ex, _Ey, _Ez are the field in V/A, forces in eV/A; E = rho j: 1 uOhm cm and 1 MA/cm^2 give "
        "100 V/m = 1e-8 V/A",
        "the force along the hop stands for every direction (Z* as a scalar) unless Z along two directions follows; it is that "
        "of the moving atom, not of an atom inside the crystal",
        "set emforce_type_* to the type of the moving atoms: atoms that are not meant to feel it need a type of their own",
    ]
    if words:
        remarks += [*words, "set their _x, _y, _z to these directions in the box (here x, y and the surface normal along z)"]
    lines = comments(preface(content, taken, remarks), "#")
    lines += [f"variable emforce_E{axis} index 0.0" for axis in "xyz"]
    for number, (species, definitions) in enumerate(forces, start=1):
        name = f"emforce_{species}"
        force = " ".join(f"v_{name}_f{axis}" for axis in "xyz")
        lines += [
            f"variable emforce_type_{species} index {number}",
            *definitions,
            f"group {name} type ${{emforce_type_{species}}}",
            f"fix {name} {name} addforce {force}",
            f"# in its place, the force of the field alone: fix {name} {name} setforce {force}",
        ]
    return "\n".join(lines)


def _scalar(species: str, z: Number) -> list[str]:
    """Variables of the force Z E."""
    name = f"emforce_{species}"
    force = [f"variable {name}_f{axis} equal v_{name}_Z*v_emforce_E{axis}" for axis in "xyz"]
    return [f"variable {name}_Z equal {z.value!r}", *force]


def _tensor(species: str, drifts: Mapping[str, tuple[float, float, str]]) -> list[str]:
    """Variables of the force sum_a Z_a a (a.E)/(a.a)."""
    lines = []
    for number, (direction, (value, _, _)) in enumerate(drifts.items()):
        stem = _stem(species, direction)
        lines += [f"variable {stem}_{axis} index {float(number == i)!r}" for i, axis in enumerate("xyz")]
        field = "+".join(f"v_{stem}_{axis}*v_emforce_E{axis}" for axis in "xyz")
        square = "+".join(f"v_{stem}_{axis}*v_{stem}_{axis}" for axis in "xyz")
        lines += [f"variable {stem}_Z equal {value!r}", f"variable {stem}_F equal v_{stem}_Z*({field})/({square})"]
    stems = [_stem(species, direction) for direction in drifts]
    return lines + [f"variable emforce_{species}_f{axis} equal " + "+".join(f"v_{stem}_F*v_{stem}_{axis}" for stem in stems)
                    for axis in "xyz"]


def _stem(species: str, direction: str) -> str:
    """Variable name of a crystal direction: emforce_W_1m10 for [1-10]."""
    return f"emforce_{species}_{direction.strip('[]').replace('-', 'm')}"


__all__ = ["to_lammps"]
