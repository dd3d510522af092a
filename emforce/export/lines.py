"""Codes that solve for the stress in a line: EMspice and MigrationFEM (Ansys APDL).

Both take a valence that is positive where atoms go with the electrons, so it is -Z* here, and is written with its sign:

    EMspice        drive e Z rho j/Omega, linear in Z (github.com/sheldonucr/EMspice, python_version/example/EM_spice.py,
                   denormalize_stress); its own constants hold Z,10 for copper
    MigrationFEM   Ze = -Z e is the charge that Ansys puts into J = D C Ze E/k_BT (TB,MIGR, constant C4 = Ze/k)
                   (github.com/IFTE-EDA/MigrationFEM, EMTMSM_Simulation_StraightWire.mac); its own Z = 5 for copper

EMspice reads its file by line number and takes what follows the last comma (get_constant), so that what stands behind the
fifteenth line is not read. MigrationFEM takes Qt as heat of transport in eV (C3 = Qt/k), > 0 towards the cold end.
"""

from __future__ import annotations

from dataclasses import replace

from scipy import constants

from ..errors import InputError
from ..materials import material
from ..query import select
from ..stored import Document
from .parameters import Content, Number, Parameters, comments, preface

#: settings of a run and of a line, as in EMspice's own example, EM_spice_constant.txt; no data of a metal
_EMSPICE_RUN = {"h_cu_m": 9e-8, "ta_res_ohm_m": 1.76e-7, "h_ta_m": 2e-8, "nx": 20.0, "wire_length": 1.0, "t_total_s": 15552000.0}
_EMSPICE_SOURCE = "setting, as in EMspice's example file EM_spice_constant.txt; state your own with --set"
#: temperatures of the resistivity table of MigrationFEM, deg C
_CELSIUS = (0.0, 20.0, 50.0, 70.0, 100.0, 200.0)
_OFFSET_K = 273.15


def to_emspice(content: Content) -> str:
    """The file EM_spice_constant.txt: "name,value" in the fifteen lines that EMspice counts, SI units."""
    p = content.parameters()
    z, rho = p.z_star(), p.rho()
    d0, ea, modulus, omega = p.take("d0_m2_s"), p.take("ea_eV"), p.take("modulus_GPa"), p.volume()
    run = {name: _setting(p, name) for name in _EMSPICE_RUN}
    p.check("EMspice")
    values = [
        ("T", p.temperature()), ("D0", d0.value), ("E", constants.e), ("Ea_ratio", ea.value), ("kB", constants.k),
        ("B0", _power(modulus.value, 9)), ("Omega", _power(omega.value, -30)), ("cu_res", _power(rho.value, -8)),
        ("hCu", run["h_cu_m"].value), ("Ta_res", run["ta_res_ohm_m"].value), ("hTa", run["h_ta_m"].value), ("Z", -z.value),
        ("nx", run["nx"].value), ("wire_length", run["wire_length"].value), ("t_total", run["t_total_s"].value),
    ]  # fmt: skip
    lines = [f"{name},{int(value) if name == 'nx' else repr(value)}" for name, value in values]
    remarks = [
        "units above: T K; D0 m²/s; E C; Ea_ratio eV (Ea = Ea_ratio E); kB J/K; B0 Pa; Omega m³; cu_res and Ta_res ohm m; "
        "hCu and hTa m; Z, nx, wire_length none; t_total s",
        _with_electrons("EMspice", z),
    ]
    unread = "EMspice reads the fifteen lines above by number and takes what follows the comma; it does not read what follows"
    return "\n".join(lines + comments([unread, *preface(content, p.taken, remarks)], "#"))


def _setting(p: Parameters, name: str) -> Number:
    stated = p.optional(name)
    if stated is not None:
        if name == "nx" and stated.value != int(stated.value):
            raise InputError("--set nx", stated.value, "a whole number")
        return stated
    return p.derived(Number(name, _EMSPICE_RUN[name], "", None, _EMSPICE_SOURCE))


def _with_electrons(code: str, z: Number) -> str:
    size = f"{code} takes Z > 0 for atoms that go with the electrons, so Z above is -Z* = {-z.value!r}"
    if z.value > 0:
        return f"{size}: NEGATIVE, as these atoms go against the electrons; without the sign voids open at the wrong end"
    return f"{size}, a positive magnitude"


def to_migrationfem(content: Content) -> str:
    """A block of APDL parameters for the scripts of MigrationFEM: Z, Qt, Ea, Va, D and rho(T), with sweeps of Z and Qt."""
    p = content.parameters()
    z, q = p.z_star(), p.take("q_star_eV")
    d0, ea, omega = p.take("d0_m2_s"), p.take("ea_eV"), p.volume()
    rho = p.rho()
    p.check("MigrationFEM")
    table, left_out = _resistivities(content, rho)
    remarks = [
        "units: Z none; Qt and Ea eV; Va m^3; DXX m^2/s; RSVX Ohm m at MPTEMP in deg C (TOFFST 273.15)",
        f"{_with_electrons('MigrationFEM', z)}; its scripts make Ze = -(1-r) Z e from it",
        "Qt has the sign of Q*: > 0 towards the cold end",
        f"Z holds at {p.temperature()!r} K; with K of the wind force, Z_wind at another temperature is K/rho(T)",
        "the resistivity is that of the query (bulk or wire): the factor eff_r of the scripts is in it",
        *left_out,
    ]
    lines = comments(preface(content, p.taken, remarks), "!")
    lines += [f"Z={-z.value!r}", f"Qt={q.value!r}", f"Ea={ea.value!r}", f"Va={_power(omega.value, -30)!r}", "eff_r=1",
              f"toff={_OFFSET_K!r}", "TOFFST,toff"]
    for start in range(0, len(table), 6):
        part = table[start : start + 6]
        lines.append(f"MPTEMP,{start + 1}," + ",".join(repr(T) for T, _ in part))
    for start in range(0, len(table), 6):
        part = table[start : start + 6]
        lines.append(f"MPDATA,RSVX,1,{start + 1}," + ",".join(repr(value) for _, value in part))
    lines.append(f"MP,DXX,1,{d0.value!r}")
    lines += _sweep("Z", -z.value, z.sigma) + _sweep("Qt", q.value, q.sigma)
    return "\n".join(lines)


def _sweep(name: str, value: float, sigma: float | None) -> list[str]:
    """Value minus and plus one standard uncertainty as an array, for a script that sweeps."""
    if sigma is None:
        return [f"! {name}_sweep is not here: the uncertainty of {name} is not known"]
    array = f"{name}_sweep"
    values = ",".join(map(repr, (value - sigma, value, value + sigma)))
    return [f"*DEL,{array}", f"*DIM,{array},ARRAY,3", f"{array}(1)={values}"]


def _resistivities(content: Content, rho: Number) -> tuple[list[tuple[float, float]], list[str]]:
    """Temperature in deg C and resistivity in Ohm m; a stated resistivity is one point."""
    T = float(content.row["temperature_K"])
    if rho.source.startswith("stated"):
        return [(round(T - _OFFSET_K, 9), _power(rho.value, -8))], ["one resistivity was stated: it is taken at all temperatures"]
    low, high = material(str(content.row["metal"])).temperature_range_K
    wanted = sorted({*(c + _OFFSET_K for c in _CELSIUS), T})
    known = [t for t in wanted if low <= t <= high]
    unknown = ", ".join(f"{t:g}" for t in wanted if t not in known)
    left_out = [f"no resistivity is known at {unknown} K"] if unknown else []
    question = replace(content.request.question, temperatures_K=tuple(known))
    rows = [row for row in select(content.database, content.request.filters, question).rows if _same(row, content.row)]
    found = {row["temperature_K"]: row["rho_uohm_cm"] for row in rows}
    return [(round(t - _OFFSET_K, 9), _power(found[t], -8)) for t in known], left_out


def _same(row: Document, other: Document) -> bool:
    names = ("metal", "facet", "defect", "hop", "site", "species", "preset", "method", "basis", "source", "created")
    return all(row[name] == other[name] for name in names)


def _power(value: float, exponent: int) -> float:
    """value × 10^exponent, with the digits of value: by way of the decimal text, so that nothing is rounded twice."""
    return float(f"{value!r}e{exponent}") if "e" not in repr(value) else value * 10.0**exponent

