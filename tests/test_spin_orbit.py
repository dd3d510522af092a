"""Spin-orbit coupling: theorems on a model crystal, closed forms of shells, GPAW's own module, and what is stored and printed."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import synthetic
from ase import Atoms
from ase.build import bulk, fcc111

from emforce import cli
from emforce.database import Database
from emforce.errors import EmforceError, InputError
from emforce.physics.fermi import bands_and_velocities, cubic_fermi_surfaces
from emforce.physics.lcao import LCAOMatrices, eigenvalues, real_space, real_space_odd
from emforce.physics.spin_orbit import PAULI, SpinOrbit, split_levels
from emforce.plan import bulk_step
from emforce.settings import load_settings
from emforce.spin_orbit import POINTS, SpinOrbitHost, changes, documents, estimate, report, splitting, summary
from emforce.spin_orbit_jobs import fine_step, spin_orbit_step
from emforce.spin_orbit_plot import save_figure, spin_orbit_figure

RANDOM = np.random.default_rng(7)
K = RANDOM.random((6, 3)) - 0.5


def angular_momentum(l: int) -> np.ndarray:
    """L_x, L_y, L_z (3, 2l + 1, 2l + 1) in real harmonics, from the ladder operators; m = -l..l as GPAW orders them."""
    m = np.arange(-l, l + 1)
    size = 2 * l + 1
    raising = np.zeros((size, size), complex)
    for i in range(size - 1):
        raising[i + 1, i] = math.sqrt(l * (l + 1) - m[i] * (m[i] + 1))
    lx, ly = (raising + raising.conj().T) / 2, (raising - raising.conj().T) / 2j
    u = np.zeros((size, size), complex)  # <m|real harmonic>
    for j, q in enumerate(m):
        if q == 0:
            u[l, j] = 1
        elif q > 0:
            u[l - q, j], u[l + q, j] = 1 / math.sqrt(2), (-1.0) ** q / math.sqrt(2)
        else:
            u[l - abs(q), j], u[l + abs(q), j] = 1j / math.sqrt(2), -1j * (-1.0) ** q / math.sqrt(2)
    return np.array([u.conj().T @ a @ u for a in (lx, ly, np.diag(m))])


def shells(ls: tuple[int, ...], xi: float) -> np.ndarray:
    """xi/2 L of shells of one atom, (3, n, n)."""
    n = sum(2 * l + 1 for l in ls)
    out, first = np.zeros((3, n, n), complex), 0
    for l in ls:
        part = slice(first, first + 2 * l + 1)
        out[:, part, part] = 0.5 * xi * angular_momentum(l)
        first += 2 * l + 1
    return out


@cache
def crystal(xi: float = 0.6) -> SpinOrbit:
    """One atom with s, p and d orbitals in an fcc cell; random hopping that keeps inversion, and an operator with tails.

    Inversion: A(-R) = P A(R) P with the parity P of the orbitals, beside A(-R) = A(R)^T.
    """
    ls = (0, 1, 2)
    n, parity = 9, np.diag([1.0] + [-1.0] * 3 + [1.0] * 5)
    cell = bulk("Cu", "fcc", a=3.6).cell.array
    near = [r for r in itertools.product((-1, 0, 1), repeat=3)]
    R = np.array(sorted(near))
    random = np.random.default_rng(3)
    h, s, p = (np.zeros((len(R), n, n)) for _ in range(3))
    for i, r in enumerate(R):
        j = int(np.flatnonzero((R == -r).all(axis=1))[0])
        size = math.exp(-np.linalg.norm(r @ cell) / 1.5)
        for a, scale in ((h, 1.0), (s, 0.05), (p, 0.1)):
            block = scale * size * random.standard_normal((n, n))
            if i == j:
                a[i] = (block + block.T + parity @ (block + block.T) @ parity) / 4
            elif i < j:
                a[i] = (block + parity @ block.T @ parity) / 2
                a[j] = a[i].T
    zero = len(R) // 2
    h[zero] += np.diag([1.0] + [2.0] * 3 + [-1.0] * 5)
    s[zero] += np.eye(n)
    scalar = LCAOMatrices(cell, np.zeros((1, 3)), np.array([n]), R, h, s)
    # X(k) = P(k)^dagger xi/2 L P(k) with projections 1 on the atom and small ones on neighbours, as a crystal has it
    mesh = (5, 5, 5)
    grid = np.array(list(np.ndindex(*mesh))) / 5
    p[zero] = np.eye(n)
    projections = np.einsum("kr,rij->kij", np.exp(2j * np.pi * grid @ R.T), p)
    x = np.einsum("kai,vab,kbj->vkij", projections.conj(), shells(ls, xi), projections)
    translations, a = real_space_odd(cell, np.zeros((1, 3)), np.array([n]), mesh, x)
    made = SpinOrbit.along_z(scalar, translations, a)
    np.testing.assert_allclose(made.operator(grid[[7]])[0, :n, n:], x[0, 7] - 1j * x[1, 7], atol=1e-12)
    return made


# theorems


def test_the_operator_is_hermitian_and_has_no_trace_over_spin():
    so = crystal()
    x = so.operator(K)
    np.testing.assert_allclose(x, x.conj().swapaxes(1, 2), atol=1e-13)
    n = so.scalar.n
    np.testing.assert_allclose(x[:, :n, :n] + x[:, n:, n:], 0, atol=1e-13)
    assert np.abs(x).max() > 0.1


def test_time_reversal():
    """T H(k) T^-1 = H(-k), T = i sigma_y K: with it S too; the wrong sign of k does not do."""
    so = crystal()
    t = np.kron(1j * PAULI[1], np.eye(so.scalar.n))
    for there, back in zip(so.at(K), so.at(-K), strict=True):
        np.testing.assert_allclose(t @ there.conj() @ t.conj().T, back, atol=1e-12)
    assert np.abs(t @ so.at(K)[0].conj() @ t.conj().T - so.at(K)[0]).max() > 0.1


def test_kramers_pairs_everywhere():
    """With inversion every level is double, at a point of no symmetry too; without it they split there and not at -k = k."""
    so = crystal()
    e = eigenvalues(*so.at(K))
    np.testing.assert_allclose(e[:, ::2], e[:, 1::2], atol=1e-10)
    h = so.scalar.h.copy()
    zero = int(np.flatnonzero((so.scalar.R == 0).all(axis=1))[0])
    h[zero, 0, 2] = h[zero, 2, 0] = 0.5  # s with p on one atom: no inversion any more
    broken = replace(so, scalar=replace(so.scalar, h=h))
    e = eigenvalues(*broken.at(K))
    assert np.abs(e[:, ::2] - e[:, 1::2]).max() > 1e-3
    special = eigenvalues(*broken.at(np.array([[0, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0]])))
    np.testing.assert_allclose(special[:, ::2], special[:, 1::2], atol=1e-10)
    np.testing.assert_allclose(eigenvalues(*broken.at(-K)), e, atol=1e-10)


def test_the_axis_of_the_spin_does_not_matter():
    so = crystal()
    axes = np.linalg.qr(np.random.default_rng(5).standard_normal((3, 3)))[0]
    axes *= np.linalg.det(axes)
    turned = replace(so, axes=axes)
    np.testing.assert_allclose(eigenvalues(*turned.at(K)), eigenvalues(*so.at(K)), atol=1e-11)
    assert np.abs(turned.operator(K) - so.operator(K)).max() > 0.1
    with pytest.raises(InputError, match="rotation"):
        replace(so, axes=2 * np.eye(3))


def test_without_the_operator_bands_and_velocities_are_doubled():
    so = crystal()
    e0, v0 = bands_and_velocities(so.scalar, K)
    e, v = bands_and_velocities(so.scaled(0.0), K)
    np.testing.assert_allclose(e, np.repeat(e0, 2, axis=1), atol=1e-11)
    np.testing.assert_allclose(v, np.repeat(v0, 2, axis=2), atol=1e-8)
    weights = np.full(len(K), 1 / len(K))
    (a,) = cubic_fermi_surfaces(so.scalar, 9.0, K, weights, (0.3,), (2, 2, 2))
    (b,) = cubic_fermi_surfaces(so.scaled(0.0), 9.0, K, weights, (0.3,), (2, 2, 2), per_band=1)
    assert b.fermi_energy == pytest.approx(a.fermi_energy, abs=1e-9)
    assert (b.dos, b.n_cubic, b.rho_lambda) == pytest.approx((a.dos, a.n_cubic, a.rho_lambda), rel=1e-8)


def test_velocities_are_slopes_of_the_bands():
    so, step = crystal(), 1e-4
    _, v = bands_and_velocities(so, K)
    for axis in range(3):
        shift = step * so.scalar.cell[:, axis] / (2 * np.pi)
        slope = (eigenvalues(*so.at(K + shift)) - eigenvalues(*so.at(K - shift))) / (2 * step)
        np.testing.assert_allclose(v[axis][:, ::2] + v[axis][:, 1::2], slope[:, ::2] + slope[:, 1::2], atol=1e-4)


@pytest.mark.parametrize("l", [1, 2, 3])
def test_a_shell_of_an_atom_splits_into_its_two_j(l):
    """xi L.S: xi l/2 for the 2l + 2 states of j = l + 1/2, -xi (l + 1)/2 for the 2l of j = l - 1/2."""
    xi, n = 0.4, 2 * l + 1
    x = shells((l,), xi)
    lx, ly, lz = 2 / xi * x
    np.testing.assert_allclose(lx @ ly - ly @ lx, 1j * lz, atol=1e-12)
    translations, a = real_space_odd(10 * np.eye(3), np.zeros((1, 3)), np.array([n]), (1, 1, 1), x[:, None])
    h, s = np.zeros((1, n, n), complex), np.eye(n, dtype=complex)[None]
    scalar = real_space(10 * np.eye(3), np.zeros((1, 3)), np.array([n]), (1, 1, 1), h, s)
    so = SpinOrbit.along_z(scalar, translations, a)
    expected = [-xi * (l + 1) / 2] * (2 * l) + [xi * l / 2] * (2 * l + 2)
    np.testing.assert_allclose(eigenvalues(*so.at(K[:1]))[0], expected, atol=1e-12)
    (level,) = split_levels(so, np.zeros(3), (-1, 1))
    assert level.degeneracy == n and level.weight == pytest.approx(1)
    assert level.splitting == pytest.approx(xi * (2 * l + 1) / 2) and level.shift == pytest.approx(0, abs=1e-12)


def test_cubic_d_levels():
    """t2g alone behaves as a p shell with -xi: Gamma_25' splits by 3 xi/2; a cubic field far above xi shows it."""
    xi, field = 0.01, 5.0
    scalar = real_space(10 * np.eye(3), np.zeros((1, 3)), np.array([5]), (1, 1, 1),
                        np.diag([0, 0, field, 0, field])[None] + 0j, np.eye(5)[None] + 0j)
    translations, a = real_space_odd(10 * np.eye(3), np.zeros((1, 3)), np.array([5]), (1, 1, 1), shells((2,), xi)[:, None])
    t2g, eg = split_levels(SpinOrbit.along_z(scalar, translations, a), np.zeros(3), (-1, 9))
    assert (t2g.degeneracy, eg.degeneracy) == (3, 2)
    assert t2g.splitting == pytest.approx(1.5 * xi, rel=0.01) and eg.splitting == pytest.approx(0, abs=1e-9)


def test_shapes_are_checked():
    so = crystal()
    with pytest.raises(InputError, match=r"SpinOrbit\.a"):
        replace(so, a=so.a[:2])


# GPAW


@pytest.mark.gpaw
def test_angular_momenta_are_those_of_gpaw():
    from gpaw.spinorbit import get_L_vlmm

    for l in (1, 2, 3):
        np.testing.assert_allclose(angular_momentum(l), [np.asarray(get_L_vlmm()[v][l]) for v in range(3)], atol=1e-12)


def gold(atoms: Atoms, gpts: tuple[int, int, int], kpts: tuple[int, int, int]):
    from gpaw import GPAW

    calc = GPAW(mode="lcao", basis="szp(dzp)", xc="PBE", gpts=gpts, kpts={"size": kpts, "gamma": True}, nbands="nao",
                symmetry={"point_group": False}, occupations={"name": "fermi-dirac", "width": 0.2},
                convergence={"density": 1e-3}, txt=None)  # fmt: skip
    calc.get_potential_energy(atoms)
    return calc


@pytest.fixture(scope="module")
def bulk_gold():
    atoms = bulk("Au", "fcc", a=4.16)
    atoms.positions += 0.25 * atoms.cell.sum(axis=0)
    return gold(atoms, (12, 12, 12), (3, 3, 3))


@pytest.mark.gpaw
def test_the_operator_of_spheres_and_two_centre_integrals_is_that_of_the_calculation(bulk_gold):
    """X(k) = i sum_R exp(2 pi i k.R) A(R) from D, geometry and basis alone, at true translations."""
    from emforce.connection import RealSpaceBasis, setups_of
    from emforce.dft import sphere_spin_orbit, spin_orbit_matrices

    calc, mesh = bulk_gold, (5, 5, 5)
    operator, _ = spin_orbit_matrices(calc, mesh)
    spheres = sphere_spin_orbit(calc)
    np.testing.assert_allclose(spheres[0], -spheres[0].swapaxes(1, 2), atol=1e-12)
    basis = RealSpaceBasis(setups_of(calc), calc.atoms)
    a = basis.spin_orbit({"Au": spheres[0]})
    k = np.array(list(np.ndindex(*mesh))) / np.array(mesh)
    x = 1j * np.einsum("kr,vrij->vkij", np.exp(2j * np.pi * k @ basis.R.T), a)
    np.testing.assert_allclose(x, operator, atol=1e-6)
    assert np.abs(operator).max() > 0.5
    with pytest.raises(InputError, match="Au"):
        basis.spin_orbit({"Ag": spheres[0]})


@pytest.mark.gpaw
def test_spheres_of_a_surface_are_those_of_the_bulk(bulk_gold):
    """The coupling comes from near the nucleus: D of bulk atoms serves atoms of a slab, within two per cent of the 5d shell's."""
    from emforce.dft import sphere_spin_orbit

    inside = sphere_spin_orbit(bulk_gold)[0]
    slab = fcc111("Au", (1, 1, 3), a=4.16, vacuum=4.0)
    found = sphere_spin_orbit(gold(slab, (12, 12, 52), (3, 3, 1)))
    setup = bulk_gold.dft.setups[0]
    bound = np.repeat([n > 0 for n in setup.n_j], [2 * l + 1 for l in setup.l_j])
    here = np.ix_(range(3), bound, bound)
    for atom in found.values():
        assert np.abs(atom[here] - inside[here]).max() < 0.02 * np.abs(inside[here]).max()
    assert np.abs(found[0] - inside).max() > 0


@pytest.mark.gpaw
def test_bands_are_those_of_gpaw_in_the_same_basis(bulk_gold):
    """With all bands of a basis gpaw.spinorbit.soc_eigenstates diagonalises the same matrix: every sign and phase is right."""
    from gpaw.spinorbit import soc_eigenstates

    from emforce.dft import host_matrices, spin_orbit_matrices

    calc = bulk_gold
    found = soc_eigenstates(calc)
    theirs, k = np.sort(found.eigenvalues(), axis=1), calc.get_bz_k_points()
    mesh = (3, 3, 3)
    scalar = host_matrices(calc, mesh)
    operator, radial = spin_orbit_matrices(calc, mesh)
    translations, a = real_space_odd(scalar.cell, scalar.positions, scalar.orbitals, mesh, operator)
    so = SpinOrbit.along_z(scalar, translations, a)
    ours = eigenvalues(*so.at(k))
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    assert np.abs(eigenvalues(*so.scaled(-1.0).at(k)) - theirs).max() > 0.05, "the sign of the operator is seen"
    # xi of the 5d shell of gold, in the potential of this crystal
    assert {(n, l): xi for n, l, xi in radial if n > 0}[5, 2] == pytest.approx(0.63, abs=0.05)
    np.testing.assert_allclose(operator, operator.conj().swapaxes(2, 3), atol=1e-12)


# what is stored and printed


def sums(**changed) -> dict:
    plain = {"fermi_energy": 7.0, "dos": 0.3, "n": 5.0, "plasma_energy": 9.0, "rho_lambda": 1.5, "sigma": 0.15, "mesh": 40}
    return plain | changed


def finished(**changed) -> SimpleNamespace:
    level = {"energy": -2.5, "degeneracy": 3, "energies": [-3.1, -3.1, -3.1, -3.1, -1.9, -1.9], "weight": 0.9}
    single = {"energy": -7.0, "degeneracy": 1, "energies": [-7.0, -7.0], "weight": 1.0}
    values = {
        "h_difference_eV": 1e-9, "mesh": 40, "shells": [[5, 2, 0.64], [-1, 2, 1.2]],
        "scalar": {name: sums() for name in ("served", "wider", "coarser")},
        "spinor": {name: sums(fermi_energy=7.05, n=4.5) for name in ("served", "wider", "coarser")},
        "points": {name: [single, level] for name in "GXLHN"},
    }  # fmt: skip
    return SimpleNamespace(values=values | changed)


def finer() -> SimpleNamespace:
    names = ("served", "wider")
    return SimpleNamespace(values={"scalar": {name: sums(mesh=60) for name in names},
                                   "spinor": {name: sums(fermi_energy=7.05, n=4.5, mesh=60) for name in names}})


def row(**changed) -> dict:
    return {"facet": "111", "hop": "fcc-hcp", "defect": "adatom", "k_wind_uohm_cm": -100.0, "k_wind_sigma_uohm_cm": 10.0,
            "energies_eV": [-0.1, 0.0, 0.1], "k_of_energy_uohm_cm": [-90.0, -100.0, -120.0]} | changed


def test_summary_and_estimate():
    document = summary(finished(), finer(), "fcc")
    assert document["change"]["served"]["n"] == pytest.approx(-0.1) and tuple(document["levels"]) == POINTS["fcc"]
    assert document["change"]["served"]["fermi_energy_eV"] == pytest.approx(0.05)
    assert document["xi_eV"] == {"5d": 0.64}, "unbound partial waves are no shells"
    single, level = document["levels"]["G"]
    assert splitting(single) is None and splitting(level) == pytest.approx(1.2)
    assert splitting(level | {"share": 0.3}) is None
    found = estimate(row(), document)
    assert found is not None and found["dk_de_uohm_cm_per_eV"] == pytest.approx(-150)
    assert (found["k_low_uohm_cm"], found["k_high_uohm_cm"]) == pytest.approx((-110 / 0.9, -110))
    assert found["k_computed_uohm_cm"] is None
    coupled = estimate(row(), document, row(k_wind_uohm_cm=-112.0, k_wind_sigma_uohm_cm=9.0))
    assert coupled is not None and (coupled["k_computed_uohm_cm"], coupled["k_computed_sigma_uohm_cm"]) == (-112.0, 9.0)
    for blank in ({"energies_eV": None}, {"k_wind_uohm_cm": None}, {"energies_eV": [-0.2, -0.1, 0.0]}):
        assert estimate(row(**blank), document) is None, "nothing is extrapolated"
    with pytest.raises(EmforceError, match="repeated"):
        summary(finished(h_difference_eV=0.1), finer(), "fcc")


def test_changes_keep_the_variants():
    a = {name: sums() for name in ("served", "wider", "coarser")}
    b = a | {"coarser": sums(dos=0.33)}
    found = changes(a, b)
    assert found["served"]["dos"] == 0 and found["coarser"]["dos"] == pytest.approx(0.1)


def one_host(**changed) -> SpinOrbitHost:
    document = summary(finished(), finer(), "fcc")
    host = synthetic.host(facet="bulk")
    path = np.array([0.0, 1.0, 1.0, 2.0])
    bands = np.array([[-1.0, 1.0]] * 4)
    host = replace(host, provenance={**host.provenance, "spin_orbit": document})
    return SpinOrbitHost(host, document, [estimate(row(), document)], path, [(0.0, "G"), (1.0, "X|U"), (2.0, "L")], bands,
                         np.repeat(bands, 2, axis=1), **changed)


def test_report_json_and_figure(tmp_path):
    one = one_host()
    text = report([one])
    for piece in ("+0.050", "-10.0 (-10.0, -10.0) %", "-2.50", "1.20", "-122 to -110", "not part of any sigma", "Γ",
                  "not computed"):
        assert piece in text, piece
    coupled = estimate(row(), one.document, row(k_wind_uohm_cm=-112.0, k_wind_sigma_uohm_cm=9.0))
    assert "-112.0 ± 9.0" in report([replace(one, estimates=[coupled])])
    (document,) = json.loads(json.dumps(documents([one]), allow_nan=False))
    assert document["with"]["n_eV_angstrom2"] == 4.5 and document["estimates"][0]["k_high_uohm_cm"] == pytest.approx(-110)
    axis = spin_orbit_figure([one]).axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == [r"$\Gamma$", "X|U", "L"]
    assert {line.get_label() for line in axis.lines} >= {"without", "with spin–orbit"}
    save_figure([one], tmp_path / "new" / "bands.svg")
    assert (tmp_path / "new" / "bands.svg").stat().st_size > 1000


def test_a_host_keeps_its_spin_orbit_coupling_when_it_is_written_again(tmp_path):
    one = one_host()
    with Database(str(tmp_path / "emforce.db"), create=True) as database:
        number = database.add_host(one.host)
        assert database.add_host(one.host) == number, "the same content is no new row"
        database.add_host(synthetic.host(facet="bulk", fermi_energy_eV=7.2))
        (newest,) = database.hosts()
        assert newest.fermi_energy_eV == 7.2 and newest.provenance["spin_orbit"] == one.document
        newer = one.document | {"mesh": 70}
        database.add_host(replace(newest, provenance={**newest.provenance, "spin_orbit": newer}))
        assert database.hosts()[0].provenance["spin_orbit"]["mesh"] == 70
        database.add_host(synthetic.host(facet="bulk", metal="W"))
        assert "spin_orbit" not in database.hosts(metal="W")[0].provenance


def test_the_step_rests_on_the_bulk_host():
    bulk_host = bulk_step("Au", load_settings("quick", {}))
    step = spin_orbit_step(bulk_host)
    assert step.needs == {"bulk": bulk_host} and step.inputs["grid"] == bulk_host.inputs["grid"]
    assert dict(fine_step(step).needs) == {"bulk": bulk_host, "spin_orbit": step}
    other = spin_orbit_step(bulk_step("Au", load_settings("quick", {"host.sigma_eV": 0.1})))
    assert step.key != other.key


@pytest.mark.parametrize(("words", "named"), [
    (["Xx"], "metal"), (["Au", "Au"], "METAL"), (["Au", "--workers", "0"], "--workers"),
    (["Au", "--figure", "a.doc"], "--figure"), (["Au", "--set", "host.spin=1"], "host.spin"),
])  # fmt: skip
def test_bad_input_is_one_line(words, named, tmp_path, capsys):
    code = cli.main(["spinorbit", *words, "--db", str(tmp_path / "no.db"), "--store", str(tmp_path / "store")])
    err = capsys.readouterr().err
    assert code == 2 and named in err and len(err.splitlines()) == 1 and not list(tmp_path.iterdir())
