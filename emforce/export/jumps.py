"""Jumps of an atom or a vacancy with their rates and the work of the field: lattice KMC tables, and onsager.

    Gamma(d) = nu0 exp(-(E_m - w/2)/k_BT),   w = e <Z> E.d of the atom,   Gamma(-d) = nu0 exp(-(E_m + w/2)/k_BT)

<Z> is the number of the hop as a whole, taken for every direction. On bcc(110), where rows of the drift along [001] and [1-10]
are stored, it is a tensor with these axes: w = e d.Z.E is then the work of the force along each hop by fields along and across it
(`emforce.physics.drift`). An adatom is the atom itself. A vacancy that jumps by d moves an atom by -d, so its work is -e <Z> E.d.
Lattices: `emforce.models.lattice` for surfaces, x along the first hop; the nearest neighbours of fcc or bcc in the bulk, cubic
axes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..materials import material
from ..models.lattice import lattice_of
from ..models.parameters import K_BOLTZMANN_eV
from ..query import select
from .parameters import Content, Number, Parameters, comments, preface

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Jumps:
    """Sites of a cell and the jumps between them.

    Parameters
    ----------
    cell : (n, n) cell vectors as rows, Angstrom; n = 2 on a surface, 3 in the bulk
    sites : (m, n) in units of the cell vectors
    pairs : from which site to which
    vectors : (jumps, n) of what jumps, Angstrom
    sense : +1: the atom jumps; -1: a vacancy does, and the atom goes the other way
    """

    cell: Floats
    sites: Floats
    pairs: tuple[tuple[int, int], ...]
    vectors: Floats
    sense: int

    def work_per_field(self, z: float | Floats) -> Floats:
        """(jumps, n) w = this . E in eV, with E in V/Angstrom; `z` a number or a symmetric (n, n) tensor."""
        tensor = z * np.eye(len(self.cell)) if np.ndim(z) == 0 else np.asarray(z)
        return np.asarray(self.sense * self.vectors @ tensor + 0.0)  # + 0.0: no minus zero


def jumps_of(p: Parameters) -> Jumps:
    """Jumps of the moving atom on its surface, or of a vacancy in the bulk.

    Raises
    ------
    InputError : a surface or defect whose lattice is not known
    """
    row, length = p.row, p.hop_length().value
    structure = material(p.metal).structure
    if math.isnan(length):  # missing: said by Parameters.check
        length = 1.0
    if row["defect"] == "vacancy" and row["facet"] == "bulk":
        return _bulk(structure, length)
    if row["defect"] != "adatom":
        raise InputError("defect", row["defect"], "adatom on a surface, or vacancy in the bulk")
    lattice = lattice_of(structure, str(row["facet"]), length)
    pairs = tuple((a, int(b)) for a in range(lattice.kinds) for b in lattice.to_kind[a])
    places = np.zeros((lattice.kinds, 2))
    if lattice.kinds > 1:
        places[1] = np.linalg.solve(lattice.cell.T, lattice.hops[0, 0])
    return Jumps(lattice.cell, places, pairs, lattice.hops.reshape(-1, 2) + 0.0, 1)


def _bulk(structure: str, length: float) -> Jumps:
    if structure == "fcc":
        a = length * math.sqrt(2)
        cell = 0.5 * a * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
        vectors = [0.5 * a * np.array(v, dtype=float) for v in product((-1, 0, 1), repeat=3) if np.abs(v).sum() == 2]
    else:
        a = 2 * length / math.sqrt(3)
        cell = 0.5 * a * np.array([[-1.0, 1, 1], [1, -1, 1], [1, 1, -1]])
        vectors = [0.5 * a * np.array(v, dtype=float) for v in product((-1, 1), repeat=3)]
    return Jumps(cell, np.zeros((1, 3)), ((0, 0),) * len(vectors), np.array(vectors), -1)


@dataclass(frozen=True)
class _Kinetics:
    z: Number
    nu0: Number
    barrier: Number
    kT_eV: float

    def rate(self, work_eV: float) -> float:
        """Rate in 1/s of a jump on which the field does this work."""
        return self.nu0.value * 1e12 * math.exp(-(self.barrier.value - 0.5 * work_eV) / self.kT_eV)


def _kinetics(p: Parameters, consumer: str) -> _Kinetics:
    found = _Kinetics(p.z_star(), p.take("nu0_THz"), p.take("barrier_eV"), K_BOLTZMANN_eV * p.temperature())
    p.check(consumer)
    return found


def _valence(content: Content, p: Parameters, scalar: Number) -> tuple[float | Floats, list[str]]:
    """Z of the work: a tensor where the drift along two directions of the surface is stored, and a remark on it."""
    row = p.row
    whole = "<Z> of the hop as a whole is taken for every direction and for both halves of the hop"
    found = content.drifts(p)
    if not found:
        return scalar.value, [whole]
    lattice = lattice_of(material(p.metal).structure, str(row["facet"]), 1.0)
    tensor = lattice.tensor({name: z for name, (z, _, _) in found.items()})
    words = ", ".join(f"Z along {name} = {found[name][0]!r} ± {found[name][1]!r} (x {unit[0]:.6f}, y {unit[1]:.6f}), preset "
                      f"{found[name][2]}" for name, unit in lattice.directions.items())
    return tensor, [f"work = d . Z . E with Z a tensor of the surface, both halves of the hop alike: {words}"]


def _remarks(jumps: Jumps) -> list[str]:
    lines = []
    if jumps.sense < 0:
        lines.append("vectors are jumps of the vacancy; the atom goes the other way, so the work is -e <Z> E.d")
    if len(jumps.sites) > 1:
        lines.append("both kinds of sites are taken as equal in energy")
    return lines


_COLUMNS = ("site", "to_site", "hop_x_angstrom", "hop_y_angstrom", "hop_z_angstrom", "nu0_THz", "barrier_eV", "z_hop",
            "z_hop_sigma", "work_per_field_x_angstrom", "work_per_field_y_angstrom", "work_per_field_z_angstrom", "work_eV",
            "rate_forward_per_s", "rate_reverse_per_s")


def to_kmc(content: Content) -> str:
    """A table of jumps (CSV behind "#" lines): vectors, nu0, E_m, <Z>, work per unit field, rates with and against the work.

    The field is rho j along the first hop (x; in the bulk along the first jump). Rates are Gamma(d) and that of the reverse jump.
    """
    p = content.parameters()
    jumps, kinetics = jumps_of(p), _kinetics(p, "a KMC table")
    rho = p.rho()
    if content.request.current_MA_cm2 is None:
        p.missing.append("--current-MA-cm2")
    p.check("a KMC table")
    field = _field(jumps, rho.value, content.request.current_MA_cm2 or 0.0)
    z, remark = _valence(content, p, kinetics.z)
    per_field = jumps.work_per_field(z)
    remarks = [
        f"field E = rho j = {field.tolist()} V/Å from j = {content.request.current_MA_cm2!r} MA/cm²",
        "units are in the names; work_eV = work_per_field . E (with e = 1, E in V/Å); rate_forward is that of the jump, "
        "rate_reverse that of its reverse, nu0 exp(-(E_m ∓ work/2)/k_BT)",
        *remark, *_remarks(jumps), *_site_remarks(content),
    ]  # fmt: skip
    lines = comments(preface(content, p.taken, remarks), "#", plain=False)
    lines.append(",".join(_COLUMNS))
    pad = (0.0,) * (3 - jumps.vectors.shape[1])
    sigma = "" if kinetics.z.sigma is None else repr(kinetics.z.sigma)
    for (a, b), vector, per in zip(jumps.pairs, jumps.vectors.tolist(), per_field.tolist(), strict=True):
        work = float(np.dot(per, field))
        cells = [a, b, *vector, *pad, kinetics.nu0.value, kinetics.barrier.value, kinetics.z.value, sigma, *per, *pad, work,
                 kinetics.rate(work), kinetics.rate(-work)]
        lines.append(",".join(cell if isinstance(cell, str) else repr(cell) for cell in cells))
    return "\n".join(lines)


def _field(jumps: Jumps, rho_uohm_cm: float, current_MA_cm2: float) -> Floats:
    """E in V/Å along the first jump: 1 µΩ cm times 1 MA/cm² is 100 V/m."""
    first = jumps.vectors[0]
    return np.asarray(1e-8 * rho_uohm_cm * current_MA_cm2 * first / np.linalg.norm(first) + 0.0)


def _site_remarks(content: Content) -> list[str]:
    """Z_wind at each site of the hop that the database holds."""
    row = content.row
    filters = [f"{name}={row[name]}" for name in ("metal", "facet", "defect", "hop", "species")]
    question = content.request.question
    found = select(content.database, filters, type(question)(
        temperatures_K=question.temperatures_K, direct_model=question.direct_model, wire=question.wire, details=False)).rows
    return [f"site {each['site']}: z_wind = {each['z_wind']!r} ± {each['z_wind_sigma']!r}, preset {each['preset']}"
            for each in found if each["z_wind"] is not None]


def to_onsager(content: Content) -> str:
    """YAML that onsager (PyPI) loads: crystal, sitelist, jumpnetwork, prefactors, energies, and the work of the field per jump.

    `crystal` is what onsager.crystal.Crystal.fromdict takes; sitelist, jumpnetwork, Prefactor, Energy, PrefactorT and EnergyT
    have the names of Interstitial.sitelistYAML and jumpnetworkYAML. Prefactors in THz and lengths in Angstrom make
    diffusivities in Å² THz = 1e-8 m²/s. Energies are in eV: onsager's methods take them divided by kT_eV. WorkPerField runs
    beside jumpnetwork.
    """
    p = content.parameters()
    jumps, kinetics = jumps_of(p), _kinetics(p, "onsager")
    z, remark = _valence(content, p, kinetics.z)
    per_field = jumps.work_per_field(z)
    remarks = [
        "units: lengths Å, Prefactor and PrefactorT THz, energies eV (divide by kT_eV for onsager), diffusivities Å² THz = "
        "1e-8 m²/s",
        "WorkPerField, beside jumpnetwork: w = WorkPerField . E in eV with E in V/Å; a jump under the field has its rate times "
        "exp(w/(2 kT_eV))",
        "load with yaml.load(text, Loader=yaml.FullLoader) after import onsager.crystal; a vacancy without solute is an "
        "Interstitial there",
        *remark, *_remarks(jumps),
    ]  # fmt: skip
    lines = comments(preface(content, p.taken, remarks), "#", plain=False)
    lines += ["crystal:", "  lattice_constant: 1.0", f"  lattice: {_array(jumps.cell)}",
              f"  basis: [[{', '.join(_array(site) for site in jumps.sites)}]]", f"  chemistry: [{p.row['species']}]",
              "chem: 0", f"sitelist: [{list(range(len(jumps.sites)))}]", "jumpnetwork:"]
    for number, ((a, b), vector) in enumerate(zip(jumps.pairs, jumps.vectors, strict=True)):
        lead = "- - " if number == 0 else "  - "
        lines.append(f"{lead}!!python/tuple [!!python/tuple [{a}, {b}], {_array(vector)}]")
    lines += ["WorkPerField:", *(f"{'- - ' if i == 0 else '  - '}{_list(work)}" for i, work in enumerate(per_field)),
              "Prefactor: [1.0]", "Energy: [0.0]", f"PrefactorT: [{_yaml(kinetics.nu0.value)}]",
              f"EnergyT: [{_yaml(kinetics.barrier.value)}]", f"temperature_K: {_yaml(p.temperature())}",
              f"kT_eV: {_yaml(kinetics.kT_eV)}", f"z_star: {_yaml(kinetics.z.value)}",
              f"z_star_sigma: {'null' if kinetics.z.sigma is None else _yaml(kinetics.z.sigma)}"]
    return "\n".join(lines)


def _array(values: Floats) -> str:
    return f"!numpy.ndarray {_list(values)}"


def _list(values: Floats) -> str:
    if values.ndim == 1:
        return f"[{', '.join(_yaml(float(value)) for value in values)}]"
    return f"[{', '.join(_list(value) for value in values)}]"


def _yaml(value: float) -> str:
    """A float as YAML 1.1 reads it: 1e-05 would be text there."""
    text = repr(float(value) + 0.0)
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


__all__ = ["Jumps", "jumps_of", "to_kmc", "to_onsager"]
