"""Files for EMspice, MigrationFEM, MOOSE and FESTIM, which no package index holds: strict readers of their formats.

The readers follow what was seen of the sources:

    EMspice        github.com/sheldonucr/EMspice, python_version/example/EM_spice.py: get_constant reads lines 0 to 14 by number,
                   float(line.split(',')[-1]); denormalize_stress scales with E Z cu_res/Omega; kappa = D B0 Omega/(kB T).
                   emspice_python/example/EM_spice_constant.txt has the fifteen names in this order
    MigrationFEM   github.com/IFTE-EDA/MigrationFEM, EMTMSM_Simulation_StraightWire.mac: "!" comments, NAME=VALUE, TOFFST,
                   MPTEMP,start,T1..T6, MPDATA,RSVX,material,start,C1..C6, MP,DXX,1,value, *DIM,name,ARRAY,n, name(1)=v1,v2,...;
                   Ze=-(1-r)*Z*1.6e-19; TBDATA of TB,MIGR: Ea/k, Va/k, Qt/k, Ze/k
    MOOSE          github.com/idaholab/moose, modules/phase_field: validParams of SoretDiffusion and PFParamsPolyFreeEnergy,
                   framework: GenericConstantMaterial, PiecewiseLinearInterpolationMaterial; [name] opens a block, [] closes it,
                   "#" comments, key = value with quotes round values that hold blanks
    FESTIM         github.com/festim-dev/FESTIM: Material(id, D_0, E_D, ..., Q) with Q a number or callable in eV
                   (festim/materials/material.py), flux in festim/concentration/mobile.py; formerly H = {"free_enthalpy",
                   "entropy"} in J/mol, documented as free_enthalpy + entropy T, computed as free_enthalpy T + entropy
"""

from __future__ import annotations

import ast
import math
import re

import export_rows
import numpy as np
import pytest
from export_rows import HEAT_Q, HEAT_T, KINETICS, Z_DIRECT, Z_SIGMA, K, export
from scipy import constants as c

from emforce.export.fields import fit
from emforce.export.lines import _power
from emforce.materials import material
from emforce.physics.wire import wire_resistivity

T = 600.0
B_SET = "--set 'modulus_GPa=100 # a test'"
Q_600 = HEAT_Q[1]


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    return export_rows.write(tmp_path_factory.mktemp("export") / "emforce.db")


def z_star(metal, model=Z_DIRECT):
    return model + K[metal] / material(metal).rho_uohm_cm(T)


# EMspice

EMSPICE_NAMES = ["T", "D0", "E", "Ea_ratio", "kB", "B0", "Omega", "cu_res", "hCu", "Ta_res", "hTa", "Z", "nx", "wire_length",
                 "t_total"]


def read_emspice(text):
    lines = text.splitlines()
    heads = [line.split(",")[0] for line in lines[:15]]
    assert heads == EMSPICE_NAMES
    assert all(line.count(",") == 1 for line in lines[:15]) and all(line.startswith("# ") for line in lines[15:])
    return dict(zip(heads, (float(line.split(",")[-1]) for line in lines[:15]), strict=True))


def test_emspice(capsys, db):
    found = read_emspice(export(capsys, db, f"metal=Cu facet=bulk -T 600 --to emspice {B_SET}"))
    copper = material("Cu")
    assert found["T"] == T and found["D0"] == KINETICS["d0_m2_s"] and found["B0"] == 1e11
    assert found["E"] == c.e and found["kB"] == c.k and found["Ea_ratio"] == KINETICS["ea_eV"]
    assert found["Omega"] == pytest.approx(copper.volume_per_atom("experiment") * 1e-30, rel=1e-15)
    assert found["cu_res"] == pytest.approx(copper.rho_uohm_cm(T) * 1e-8, rel=1e-15)
    assert found["Z"] == pytest.approx(-z_star("Cu"), rel=1e-15) and found["Z"] > 0
    # what EMspice makes of it: D of the database
    D = found["D0"] * math.exp(-found["Ea_ratio"] * found["E"] / (found["kB"] * found["T"]))
    assert D == pytest.approx(KINETICS["d0_m2_s"] * math.exp(-KINETICS["ea_eV"] * c.e / (c.k * T)), rel=1e-12)


def test_emspice_drives_tungsten_the_other_way(capsys, db):
    drives = {}
    for metal in ("Cu", "W"):
        text = export(capsys, db, f"metal={metal} facet=bulk -T 600 --to emspice {B_SET}")
        found = read_emspice(text)
        drives[metal] = found["E"] * found["Z"] * found["cu_res"] / found["Omega"]
        omega = material(metal).volume_per_atom("experiment") * 1e-30
        rho = material(metal).rho_uohm_cm(T) * 1e-8
        assert drives[metal] == pytest.approx(-c.e * z_star(metal) * rho / omega, rel=1e-9)
        assert ("NEGATIVE" in text) == (metal == "W") and ("positive magnitude" in text) == (metal == "Cu")
    assert drives["Cu"] > 0 > drives["W"]


def test_emspice_settings_are_those_of_its_example_unless_stated(capsys, db):
    command = f"metal=Cu facet=bulk -T 600 --to emspice {B_SET}"
    found = read_emspice(export(capsys, db, command))
    assert [found[name] for name in ("hCu", "Ta_res", "hTa", "nx", "wire_length", "t_total")] == [
        9e-8, 1.76e-7, 2e-8, 20, 1, 15552000]
    text = export(capsys, db, f"{command} --set h_cu_m=4.5e-8 --set nx=40 --set wire_length=2 --source mine")
    found = read_emspice(text)
    assert (found["hCu"], found["nx"], found["wire_length"]) == (4.5e-8, 40, 2) and "\nnx,40\n" in text


def test_emspice_in_a_wire(capsys, db):
    command = f"metal=W facet=bulk -T 600 --to emspice {B_SET} --wire-diameter-nm 5 --specularity 0.2 --reflection 0.3"
    found = read_emspice(export(capsys, db, command))
    wire = wire_resistivity(material("W").rho_uohm_cm(T), 1e2 * material("W").rho_lambda.value, 50.0, 0.2, "diameter", 0.3)
    assert found["cu_res"] == pytest.approx(wire * 1e-8, rel=1e-9)
    assert found["Z"] == pytest.approx(-(Z_DIRECT + K["W"] / wire), rel=1e-9)


def test_powers_of_ten_keep_the_digits():
    assert _power(1.1, -30) == 1.1e-30 and _power(13.04, -8) == 1.304e-07 and _power(1e-7, 9) == pytest.approx(100, rel=1e-15)


# MigrationFEM

NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
NUMBERS = rf"{NUMBER}(?:,{NUMBER})*"


def read_apdl(text):
    """Parameters, tables and properties of a block; anything that is not one of the known commands fails."""
    values, temperatures, table, properties, arrays = {}, {}, {}, {}, {}
    for line in text.splitlines():
        assert len(line) < 640
        if line.startswith("! "):
            continue
        if match := re.fullmatch(rf"(?!MP)(\w+)=({NUMBER})", line):
            assert len(match[1]) <= 32
            values[match[1]] = float(match[2])
        elif line == "TOFFST,toff":
            values["offset"] = values["toff"]
        elif match := re.fullmatch(rf"MPTEMP,(\d+),({NUMBERS})", line):
            temperatures.update(enumerate(map(float, match[2].split(",")), start=int(match[1])))
            assert match[2].count(",") < 6
        elif match := re.fullmatch(rf"MPDATA,RSVX,1,(\d+),({NUMBERS})", line):
            table.update(enumerate(map(float, match[2].split(",")), start=int(match[1])))
            assert match[2].count(",") < 6
        elif match := re.fullmatch(rf"MP,(\w+),1,({NUMBER})", line):
            properties[match[1]] = float(match[2])
        elif match := re.fullmatch(r"\*DEL,(\w+)", line):
            arrays.pop(match[1], None)
        elif match := re.fullmatch(r"\*DIM,(\w+),ARRAY,(\d+)", line):
            arrays[match[1]] = [math.nan] * int(match[2])
        elif match := re.fullmatch(rf"(\w+)\(1\)=({NUMBERS})", line):
            assert len(arrays[match[1]]) == match[2].count(",") + 1
            arrays[match[1]] = [float(word) for word in match[2].split(",")]
        else:
            raise AssertionError(f"no APDL of this block: {line}")
    assert list(temperatures) == list(table) == list(range(1, len(table) + 1))
    rho = {temperatures[i]: table[i] for i in table}
    assert list(rho) == sorted(rho)
    return values, rho, properties, arrays


@pytest.mark.parametrize("metal", ["Cu", "W"])
def test_migrationfem(capsys, db, metal):
    values, rho, properties, arrays = read_apdl(export(capsys, db, f"metal={metal} facet=bulk -T 600 --to migrationfem"))
    z = z_star(metal)
    sigma = math.hypot(math.hypot(10 / 3, math.pi) / abs(K[metal]), (material(metal).rho_sigma_uohm_cm(T) or 0.0)
                       / material(metal).rho_uohm_cm(T)) * abs(z - Z_DIRECT)
    assert values["Z"] == pytest.approx(-z, rel=1e-14) and values["Qt"] == pytest.approx(Q_600, rel=1e-14)
    assert values["Ea"] == KINETICS["ea_eV"] and properties == {"DXX": KINETICS["d0_m2_s"]} and values["eff_r"] == 1
    assert values["Va"] == pytest.approx(material(metal).volume_per_atom("experiment") * 1e-30, rel=1e-15)
    spread = math.hypot(sigma, Z_SIGMA)
    assert arrays["Z_sweep"] == pytest.approx([-z - spread, -z, -z + spread], rel=1e-9)
    assert arrays["Qt_sweep"] == pytest.approx([Q_600 - 0.01, Q_600, Q_600 + 0.01], rel=1e-9)
    # the charge that its scripts hand to Ansys, J = D C Ze E/k_BT, is that of the atoms, without self-healing
    assert -values["Z"] * c.e == pytest.approx(z * c.e)
    assert values["offset"] == 273.15 and {0.0, 20.0, 50.0, 70.0, 100.0, 200.0, 326.85} == set(rho)
    for celsius, value in rho.items():
        assert value == pytest.approx(material(metal).rho_uohm_cm(celsius + 273.15) * 1e-8, rel=1e-12)


def test_migrationfem_without_uncertainty_and_with_one_resistivity(capsys, db):
    command = "metal=Cu facet=111 -T 600 --to migrationfem --set z_star=-5 --set q_star_eV=0.5 --set d0_m2_s=7.8e-5 " \
              "--set ea_eV=0.6 --set rho_uohm_cm=2.5 --source 'a test'"
    text = export(capsys, db, command)
    values, rho, _, arrays = read_apdl(text)
    assert values["Z"] == 5.0 and rho == {326.85: 2.5e-8} and arrays == {}
    assert "! Z_sweep is not here" in text and "! Qt_sweep is not here" in text


# MOOSE

PARAMETERS = {
    "SoretDiffusion": ({"type", "variable", "T", "diff_name"}, {"c", "Q_name"}),
    "PFParamsPolyFreeEnergy": ({"type", "c", "int_width", "polynomial_order", "D0", "Em", "Ef", "surface_energy"},
                               {"T", "length_scale", "time_scale", "block"}),
    "GenericConstantMaterial": ({"type", "prop_names", "prop_values"}, {"block"}),
    "PiecewiseLinearInterpolationMaterial": ({"type", "property", "variable"}, {"x", "y", "xy_data", "scale_factor", "block"}),
}  # fmt: skip


def read_hit(text):
    """Blocks of a MOOSE input as nested mappings; unknown types and parameters, and missing ones, fail."""
    root: dict = {}
    open_blocks = [root]
    for line in text.splitlines():
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        if words == "[]":
            open_blocks.pop()
            assert open_blocks, "a block is closed that was not open"
        elif match := re.fullmatch(r"\[(\w+)\]", words):
            assert match[1] not in open_blocks[-1]
            open_blocks.append(open_blocks[-1].setdefault(match[1], {}))
        else:
            match = re.fullmatch(r"(\w+)\s*=\s*('[^']*'|[^\s'#]+)", words)
            assert match and match[1] not in open_blocks[-1], line
            open_blocks[-1][match[1]] = match[2].strip("'")
    assert open_blocks == [root], "a block is not closed"
    for part in (each for block in root.values() for each in block.values()):
        required, optional = PARAMETERS[part["type"]]
        assert required <= set(part) <= required | optional
    return root


def test_moose(capsys, db):
    found = read_hit(export(capsys, db, "metal=Cu facet=bulk -T 600 --to moose --set 'gamma_J_m2=1.5 # a test'"))
    soret = found["Kernels"]["emforce_soret"]
    free = found["Materials"]["emforce_vacancies"]
    heat = found["Materials"]["emforce_heat_of_transport"]
    assert (float(free["Em"]), float(free["Ef"])) == (KINETICS["barrier_eV"], KINETICS["formation_energy_eV"])
    assert float(free["surface_energy"]) == 1.5
    assert free["int_width"] == "${int_width}" and free["polynomial_order"] == "${polynomial_order}"
    # twelve jumps of length a/sqrt(2): D_v0 = a² nu0
    a = math.sqrt(2) * export_rows.B * 1e-10
    assert float(free["D0"]) == pytest.approx(a**2 * KINETICS["nu0_THz"] * 1e12, rel=1e-12)
    # the property is another than Qstar, which PFParamsPolyFreeEnergy sets itself, and the kernel takes it
    assert soret["Q_name"] == heat["property"] == "Qheat" and soret["diff_name"] == "D" and heat["variable"] == "T"
    data = np.array(heat["xy_data"].split(), dtype=float).reshape(-1, 2)
    assert data[:, 0] == pytest.approx(HEAT_T) and data[:, 1] == pytest.approx(-HEAT_Q, rel=1e-14)


def test_moose_drives_vacancies_against_the_atoms(capsys, db):
    """SoretDiffusion: J_v = -D_v c_v Q/(k_B T²) grad T; the atoms' J = -D_v c_v Q*/(k_B T²) grad T must be its negative."""
    text = export(capsys, db, "metal=W facet=bulk -T 600 --to moose --set 'gamma_J_m2=3 # x' --set 'q_star_eV=0.3 # x' "
                              "--set 'd0_vacancy_m2_s=1e-6 # x'")
    materials = read_hit(text)["Materials"]
    heat, free = materials["emforce_heat_of_transport"], materials["emforce_vacancies"]
    assert (heat["type"], heat["prop_names"], float(heat["prop_values"])) == ("GenericConstantMaterial", "Qheat", -0.3)
    gradient, share = 1e7, 1e-6
    kT2 = 8.617343e-5 * T**2
    D = float(free["D0"]) * math.exp(-float(free["Em"]) / (8.617343e-5 * T))
    vacancies = -D * share * float(heat["prop_values"]) / kT2 * gradient
    assert float(free["D0"]) == 1e-6 and -vacancies == pytest.approx(-D * share * 0.3 / kT2 * gradient)
    assert vacancies > 0 > -vacancies  # up the gradient: vacancies to the hot end, atoms to the cold end


# FESTIM


def read_festim(text):
    """Constants and the function of the file; only assignments of literals and one function of one return are allowed."""
    tree = ast.parse(text)
    names = {}
    for node in tree.body[:-1]:
        assert isinstance(node, ast.Assign) and len(node.targets) == 1
        names[node.targets[0].id] = ast.literal_eval(node.value)
    function = tree.body[-1]
    assert isinstance(function, ast.FunctionDef) and function.name == "Q" and [a.arg for a in function.args.args] == ["T"]
    assert len(function.body) == 2 and isinstance(function.body[1], ast.Return)
    space: dict = {}
    exec(compile(tree, "festim", "exec"), space)
    return names, space["Q"]


def test_festim(capsys, db):
    text = export(capsys, db, "metal=Cu facet=bulk -T 600 --to festim")
    names, Q = read_festim(text)
    assert names["D_0"] == KINETICS["d0_m2_s"] and names["E_D"] == KINETICS["ea_eV"]
    faraday = c.e * c.N_A
    for temperature, q in zip(HEAT_T, HEAT_Q, strict=True):
        assert Q(temperature) == pytest.approx(q, rel=1e-12)  # the made-up table is a straight line
        H = names["H"]
        assert H["free_enthalpy"] + H["entropy"] * temperature == pytest.approx(q * faraday, rel=1e-12)
        H = names["H_AS_SOLVED"]
        # R in J/(mol K): the same flux as with Q in eV and k_B in eV/K
        old = (H["free_enthalpy"] * temperature + H["entropy"]) / (c.R * temperature**2)
        assert old == pytest.approx(Q(temperature) / (c.k / c.e * temperature**2), rel=1e-12)
    assert Q(T) > 0 and "largest deviation" in text


def test_festim_with_a_stated_constant(capsys, db):
    names, Q = read_festim(export(capsys, db, "metal=Cu facet=111 -T 600 --to festim --set 'q_star_eV=-0.07±0.01 # a test'"))
    assert set(names) == {"Q_INTERCEPT_EV", "Q_SLOPE_EV_K", "H", "H_AS_SOLVED"} and Q(300) == Q(900) == -0.07


def test_the_line_through_a_table():
    line = fit([(300.0, 0.1), (600.0, 0.3), (900.0, 0.2)])
    best = np.polyfit([300, 600, 900], [0.1, 0.3, 0.2], 1)
    assert (line.slope_eV_K, line.intercept_eV) == pytest.approx(tuple(best))
    assert line.deviation_eV == pytest.approx(0.1) and line.at(600.0) == pytest.approx(0.2)
    assert fit([(600.0, 0.3)]).at(1.0) == 0.3
