"""LCAO bases of our own, generated from the shipped PAW setups by the recipes in data/bases.toml.

The bases that come with GPAW have no valence p function for the noble and refractory metals; bands, and with them the
electron wind, come out wrong. A recipe lists radial functions one by one, in GPAW's own two kinds (the formulas are
GPAW's, gpaw.atom.basis):

- ``confined``: a state of the free atom, solved in the added potential amplitude/(r_c - r) exp(-(r_c - r_i)/(r - r_i))
  that goes smoothly to infinity at the hard cutoff r_c; r_i = start r_c. ``splits`` adds split-valence functions: what
  is left of the first one when its part inside a radius is replaced by r^l (a - b r^2).
- ``gaussian``: r^l (exp(-(r/width)^2) - a + b r^2), value and slope zero at the cutoff: polarisation functions.

GPAW is imported only where a basis is generated.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emforce.errors import InputError

if TYPE_CHECKING:
    from gpaw.atom.basis import BasisMaker
    from gpaw.basis_data import Basis, BasisFunction

#: part of the digest in the file name: raise it when the generation changes for the same recipe
GENERATION = 1
#: spacing of the radial grid of the generated files (bohr), GPAW's own choice
GRID = 1 / 64
LETTERS = "spdf"


@dataclass(frozen=True)
class RadialFunction:
    """One radial function of a recipe, or one with its split-valence companions; lengths in bohr, as in GPAW's files.

    Attributes
    ----------
    l : angular momentum, 0 to 3
    kind : "confined" (state of the free atom) or "gaussian"
    cutoff : hard cutoff radius
    splits : split radii of further functions of the same l, each below the cutoff (confined only)
    amplitude : strength of the confining potential (hartree bohr; confined only)
    start : radius where the confinement begins, in units of the cutoff (confined only)
    width : decay length of the Gaussian (gaussian only)
    state : index of the state among those of this l in the setup, 0 = lowest (confined only)
    """

    l: int
    kind: str
    cutoff: float
    splits: tuple[float, ...] = ()
    amplitude: float = 12.0
    start: float = 0.6
    width: float = 0.0
    state: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "splits", tuple(float(r) for r in self.splits))
        if self.l not in range(4):
            raise InputError("basis function: l", self.l, "0, 1, 2 or 3")
        if self.kind not in ("confined", "gaussian"):
            raise InputError("basis function: kind", self.kind, "confined or gaussian")
        if not 2.0 <= self.cutoff <= 12.0:
            raise InputError("basis function: cutoff", self.cutoff, "2 to 12 bohr")
        if any(not 0.5 <= r < self.cutoff for r in self.splits):
            raise InputError("basis function: splits", self.splits, f"radii from 0.5 to below {self.cutoff} bohr")
        if not (self.amplitude > 0 and 0 < self.start < 1):
            raise InputError("basis function: amplitude, start", (self.amplitude, self.start), "> 0, and 0 to 1")
        if self.kind == "gaussian" and not (0.3 <= self.width < self.cutoff and not self.splits):
            raise InputError("basis function: width", self.width, "0.3 bohr to the cutoff, with no splits")
        if self.kind == "confined" and self.width:
            raise InputError("basis function: width", self.width, "none for a confined function")

    @property
    def orbitals(self) -> int:
        """Number of orbitals: (2l + 1) for the function and each split."""
        return (2 * self.l + 1) * (1 + len(self.splits))


@dataclass(frozen=True)
class Recipe:
    """How the basis of one metal is made.

    Attributes
    ----------
    symbol, name : element and name of the recipe
    setup : GPAW's name of the PAW setup; "paw" is the default one of the element
    functions : the radial functions in the order of the file
    """

    symbol: str
    name: str
    setup: str
    functions: tuple[RadialFunction, ...]

    def __post_init__(self) -> None:
        if not self.functions:
            raise InputError(f"basis recipe {self.symbol}.{self.name}: functions", [], "at least one function")

    @property
    def orbitals(self) -> int:
        """Orbitals per atom."""
        return sum(function.orbitals for function in self.functions)

    @property
    def cutoff(self) -> float:
        """Largest cutoff radius (bohr)."""
        return max(function.cutoff for function in self.functions)

    @property
    def shells(self) -> str:
        """Number of radial functions per l, such as "2s2p2d1f"."""
        counts = [sum(1 + len(f.splits) for f in self.functions if f.l == l) for l in range(4)]
        return "".join(f"{count}{LETTERS[l]}" for l, count in enumerate(counts) if count)

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that change with anything that the generated file depends on."""
        from importlib import metadata

        text = repr((GENERATION, metadata.version("gpaw"), metadata.version("gpaw-data"), asdict(self)))
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def basis(self) -> str:
        """The basis string for GPAW, such as "emf-default-0123abcd"."""
        return f"emf-{self.name}-{self.digest}"

    @property
    def filename(self) -> str:
        """Name of the basis file; GPAW puts the name of a setup that is not the default one before the basis."""
        setup = "" if self.setup == "paw" else f"{self.setup}."
        return f"{self.symbol}.{setup}{self.basis}.basis"


def parse_recipe(symbol: str, name: str, table: Mapping[str, Any]) -> Recipe:
    """A recipe from a table of bases.toml; InputError for unknown or missing keys."""
    where = f"basis recipe {symbol}.{name}"
    unknown = set(table) - {"setup", "functions", "measured", "note"}
    if unknown:
        raise InputError(where, sorted(unknown)[0], "setup, functions, measured, note")
    if "functions" not in table:
        raise InputError(where, "no functions", "a list of functions")
    functions = []
    for entry in table["functions"]:
        unknown = set(entry) - set(RadialFunction.__dataclass_fields__)
        if unknown:
            raise InputError(f"{where}: function", sorted(unknown)[0], ", ".join(RadialFunction.__dataclass_fields__))
        try:
            functions.append(RadialFunction(**{**entry, "splits": tuple(entry.get("splits", ()))}))
        except TypeError as error:
            raise InputError(f"{where}: function", entry, f"l, kind and cutoff at least ({error})") from error
    return Recipe(symbol, name, str(table.get("setup", "paw")), tuple(functions))


def recipes_table() -> dict[str, Any]:
    """The whole of data/bases.toml: symbol -> recipe name -> setup, functions, what was measured."""
    return tomllib.loads((files("emforce") / "data" / "bases.toml").read_text(encoding="utf-8"))


def load_recipe(symbol: str, recipe: str = "default") -> Recipe:
    """The recipe of a metal by name; InputError naming those that exist."""
    table = recipes_table()
    if symbol not in table:
        raise InputError("metal", symbol, f"a metal with a basis: {', '.join(sorted(table))}")
    if recipe not in table[symbol]:
        raise InputError(f"basis recipe of {symbol}", recipe, ", ".join(sorted(table[symbol])))
    return parse_recipe(symbol, recipe, table[symbol][recipe])


def basis_name(symbol: str, recipe: str = "default") -> str:
    """The basis string for GPAW of a metal's recipe, as `ensure_bases` returns it."""
    return load_recipe(symbol, recipe).basis


def setup_name(symbol: str, recipe: str = "default") -> str:
    """GPAW's name of the PAW setup that the recipe was made for ("paw" is the default one)."""
    return load_recipe(symbol, recipe).setup


def ensure_bases(symbols: Iterable[str], directory: Path | str, recipe: str = "default") -> dict[str, str]:
    """Generate what is missing of the bases of these metals and return the basis string of each.

    The directory must then be on gpaw.setup_paths. A file is written under another name and renamed, so that two
    processes may do it at once. The name holds a digest of recipe and versions: a file that exists is the right one.

    Parameters
    ----------
    symbols : elements
    directory : where the files go; made if it is not there
    recipe : name of the recipe for all of them
    """
    folder = Path(directory)
    recipes = [load_recipe(symbol, recipe) for symbol in sorted(set(symbols))]
    folder.mkdir(parents=True, exist_ok=True)
    for entry in recipes:
        write_basis(entry, folder)
    return {entry.symbol: entry.basis for entry in recipes}


def write_basis(recipe: Recipe, folder: Path) -> Path:
    """Generate the file of one recipe in the folder unless it is there; returns its path."""
    path = folder / recipe.filename
    if path.is_file():
        return path
    text = basis_text(recipe)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".basis-", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def basis_text(recipe: Recipe) -> str:
    """The basis file of a recipe as text: the same for the same recipe and versions."""
    stream = io.StringIO()
    generate(recipe).write_to(stream)
    return stream.getvalue()


def generate(recipe: Recipe) -> Basis:
    """Make the radial functions of a recipe from its PAW setup and the free atom's potential in it."""
    from gpaw import __version__
    from gpaw.atom.all_electron import ValenceData
    from gpaw.atom.basis import BasisMaker
    from gpaw.atom.radialgd import EquidistantRadialGridDescriptor
    from gpaw.basis_data import Basis
    from gpaw.setup_data import SetupData

    setup = SetupData(recipe.symbol, "PBE", recipe.setup)
    maker = BasisMaker(ValenceData.from_setupdata_onthefly_potentials(setup))
    functions = []
    for function in recipe.functions:
        functions += _confined(maker, function) if function.kind == "confined" else [_gaussian(maker, function)]
    points = max(f.ng for f in functions)
    description = "\n".join([f"emforce recipe {recipe.symbol}.{recipe.name}", *map(str, recipe.functions)])
    return Basis(recipe.symbol, recipe.basis, rgd=EquidistantRadialGridDescriptor(GRID, points), bf_j=functions,
                 generatordata=description.replace("<", "(").replace(">", ")"),
                 generatorattrs={"version": __version__, "type": "emforce"})


def _confined(maker: BasisMaker, function: RadialFunction) -> list[BasisFunction]:
    """The confined state of the free atom (as r phi) and its split-valence companions, put on the even grid."""
    from gpaw.atom.basis import make_split_valence_basis_function

    data = maker.valence_data
    states = [j for j, (n, l) in enumerate(zip(data.n_j, data.l_j, strict=True)) if n > 0 and l == function.l]
    if function.state >= len(states):
        raise InputError("basis function: state", function.state,
                         f"0 to {len(states) - 1} for l = {function.l} of {data.symbol}")
    j = states[function.state]
    potential = data.get_confinement_potential(function.amplitude, function.start * function.cutoff, function.cutoff)
    wave, _ = data.solve_confined(j, function.cutoff, potential)
    wave = maker.smoothify(wave, j)
    name = f"{data.n_j[j]}{LETTERS[function.l]}"
    result = [_on_grid(maker, wave, function.l, function.cutoff, f"{name}-sz confined orbital", n=data.n_j[j])]
    for radius in function.splits:
        split = make_split_valence_basis_function(maker.rgd.r_g, wave, function.l, maker.rgd.floor(radius))
        result.append(_on_grid(maker, wave - split, function.l, radius, f"{name}-dz split-valence wave"))
    return result


def _gaussian(maker: BasisMaker, function: RadialFunction) -> BasisFunction:
    """A normalised Gaussian that ends smoothly at the cutoff."""
    from gpaw.atom.basis import QuasiGaussian

    r = maker.rgd.r_g
    wave = QuasiGaussian(1 / function.width**2, function.cutoff)(r) * r ** (function.l + 1)
    wave /= np.sqrt(np.dot(maker.rgd.dr_g, wave * wave))
    return _on_grid(maker, wave, function.l, function.cutoff, f"{LETTERS[function.l]}-type Gaussian polarization")


def _on_grid(maker: BasisMaker, wave: Any, l: int, cutoff: float, kind: str, n: int | None = None) -> BasisFunction:
    """r phi on the atom's logarithmic grid -> phi on the even grid of the file, zero from the cutoff on."""
    from gpaw.basis_data import BasisFunction
    from gpaw.utilities import divrl

    last = int(np.ceil(cutoff / GRID - 1e-9))
    radii = GRID * np.arange(last + 1)
    logarithmic = maker.rgd
    spline = logarithmic.spline(divrl(wave, 1, logarithmic.r_g), logarithmic.r_g[logarithmic.floor(radii[-1])], l,
                                points=100)
    values = np.array([spline(r) * r**l for r in radii])
    values[-1] = 0.0
    # twelve decimals: the last digits differ between machines, and the file must not
    result = BasisFunction(n, l, float(radii[-1]), np.round(values, 12) + 0.0, kind)
    result.ng = last + 1
    return result
