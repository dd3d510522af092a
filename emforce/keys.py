"""The keys of the parameter database: one list of names, units, signs and meanings.

The columns of the database, the help text of the command line, the table in docs/keys.md and the axis labels
of the figures are all made from `KEYS` and `HOST_KEYS`, so that a name has one meaning everywhere. A new key
is a line here, a field of `emforce.record.Record` (or `Host`) and a migration in `emforce.database`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .errors import InputError

Kind = Literal["text", "number", "json"]
Role = Literal["identity", "value", "detail", "evaluated"]


@dataclass(frozen=True)
class Key:
    """One named quantity.

    Parameters
    ----------
    name : name of the column, of the JSON key and of the field; carries the unit where it is not eV or
        Angstrom
    kind : "text", "number" (a real number or nothing) or "json" (arrays and mappings)
    role : "identity" (rows that agree in all of these describe the same thing; the newest is served),
        "value" (stored and listed), "detail" (stored, listed only where it fits) or "evaluated" (not stored,
        computed when asked for, because it depends on the temperature or on the other rows)
    unit : unit in words, "" for none
    sign : what a positive value means, "" where the sign means nothing
    description : one sentence
    label : axis label in matplotlib's math text, without the unit
    """

    name: str
    kind: Kind
    role: Role
    unit: str
    sign: str
    description: str
    label: str = ""

    @property
    def axis(self) -> str:
        """Axis label with the unit in brackets."""
        label = self.label or self.name.replace("_", " ")
        return f"{label} ({self.unit})" if self.unit else label

    @property
    def stored(self) -> bool:
        """Whether the database has a column for it."""
        return self.role != "evaluated"


_FIELD = "> 0: along the electric field, against the electrons (upwind)"
_UOHM = "µΩ cm"

KEYS: tuple[Key, ...] = (
    Key("spec", "text", "identity", "", "", "Name of the input specification"),
    Key("metal", "text", "identity", "", "", "Host metal, chemical symbol", "Metal"),
    Key("facet", "text", "identity", "", "", "Surface orientation such as 110, or bulk", "Facet"),
    Key("defect", "text", "identity", "", "",
        "What moves: adatom, vacancy, or files (structures given by the user)"),
    Key("hop", "text", "identity", "", "", "Name of the hop, such as hollow-bridge-hollow", "Hop"),
    Key("site", "text", "identity", "", "",
        "Position on the hop: initial, saddle, final, s=0.25 (a fraction), or hop average", "Site"),
    Key("species", "text", "identity", "", "", "Chemical symbol of the moving atom", "Mover"),
    Key("preset", "text", "identity", "", "", "Settings file, overridden fields in brackets", "Preset"),
    Key("method", "text", "identity", "", "", "How the number was computed", "Method"),
    Key("basis", "text", "value", "", "", "Name of the LCAO basis"),
    Key("fraction", "number", "value", "", "", "Position as a fraction of the hop; none for a hop average",
        "Fraction of the hop $s$"),
    Key("k_wind_uohm_cm", "number", "value", _UOHM, _FIELD,
        "Wind-force constant K of Z_wind(T) = K/rho(T), force and field along the hop; or the hop average",
        r"$K_\mathrm{wind}$"),
    Key("k_wind_sigma_uohm_cm", "number", "value", _UOHM, "",
        "Standard uncertainty of k_wind_uohm_cm: the parts below combined in quadrature",
        r"$\sigma(K_\mathrm{wind})$"),
    Key("k_wind_sigma_parts_uohm_cm", "json", "detail", _UOHM, "",
        "Named parts of the uncertainty; a part that was not estimated is null and adds nothing"),
    Key("k_tensor_uohm_cm", "json", "detail", _UOHM, _FIELD,
        "K as a tensor [force axis][field axis] in the axes of the structure; null where not computed"),
    Key("hop_vector_angstrom", "json", "detail", "Å", "", "Hop vector from initial to final site"),
    Key("energies_eV", "json", "detail", "eV", "",
        "Energies of k_of_energy_uohm_cm relative to the Fermi energy",
        r"$E - E_\mathrm{F}$"),
    Key("k_of_energy_uohm_cm", "json", "detail", _UOHM, _FIELD, "K along the hop evaluated at energies_eV",
        r"$K_\mathrm{wind}(E)$"),
    Key("residual_force_eV_per_angstrom", "number", "value", "eV/Å", "",
        "Largest force left on a relaxed degree of freedom of the image", "Residual force"),
    Key("status", "text", "value", "", "",
        "ok, failed, unconverged, or outside tolerance (a check of the host failed); only ok is served"),
    Key("reason", "text", "value", "", "", "Why the status is not ok"),
    Key("created", "text", "value", "", "", "When the record was made, UTC, ISO 8601"),
    Key("checks", "json", "detail", "", "",
        "Checks made on the number: name, value, comparison, limit, passed"),
    Key("provenance", "json", "detail", "", "",
        "Versions, settings hash, structure hash, git commit, host check, source of rho"),
    Key("standing", "text", "evaluated", "", "",
        "current (served), superseded (a newer successful run exists) or not served (status is not ok)"),
    Key("temperature_K", "number", "evaluated", "K", "", "Temperature at which the row is evaluated",
        "Temperature $T$"),
    Key("rho_uohm_cm", "number", "evaluated", _UOHM, "", "Resistivity of the bulk metal at temperature_K",
        r"$\rho$"),
    Key("rho_source", "text", "evaluated", "", "",
        "Source of rho_uohm_cm, with the words 'not verified' where it was not seen at its source"),
    Key("z_wind", "number", "evaluated", "", _FIELD, "Wind valence K/rho(T); force = e z_wind E",
        r"$Z_\mathrm{wind}$"),
    Key("z_wind_sigma", "number", "evaluated", "", "",
        "Standard uncertainty of z_wind, that of K only (rho taken as exact)", r"$\sigma(Z_\mathrm{wind})$"),
    Key("direction", "text", "evaluated", "", "",
        "upwind (z_wind > 0), downwind (z_wind < 0), or undecided where sigma covers zero"),
)

HOST_KEYS: tuple[Key, ...] = (
    Key("metal", "text", "identity", "", "", "Host metal, chemical symbol", "Metal"),
    Key("facet", "text", "identity", "", "", "Surface orientation of the host, or bulk", "Facet"),
    Key("basis", "text", "identity", "", "", "Name of the LCAO basis"),
    Key("preset", "text", "identity", "", "", "Settings file, overridden fields in brackets"),
    Key("functional", "text", "value", "", "", "Exchange-correlation functional"),
    Key("status", "text", "value", "", "", "ok, failed, or outside tolerance"),
    Key("reason", "text", "value", "", "", "Why the status is not ok"),
    Key("fermi_energy_eV", "number", "value", "eV", "", "Fermi energy, electrons recounted on the dense mesh",
        r"$E_\mathrm{F}$"),
    Key("dos_per_eV_atom", "number", "value", "1/(eV atom)", "",
        "Density of states at the Fermi energy, both spins",
        r"DOS$(E_\mathrm{F})$"),
    Key("omega_p_eV", "number", "value", "eV", "", "Plasma energy of the conduction electrons, LCAO",
        r"$\hbar\omega_\mathrm{p}$"),
    Key("n_eV_angstrom2", "number", "value", "eV Å²", "",
        "N = (2/N_k) sum delta(E_F - e) v^2 per cell, isotropic average; sigma = e^2 tau N/Omega", "$N$"),
    Key("rho_lambda_fohm_m2", "number", "value", "fΩ m²", "",
        "Resistivity times mean free path, from the bands only",
        r"$\rho\lambda$"),
    Key("dos_compared_per_eV_atom", "number", "value", "1/(eV atom)", "",
        "Density of states from LCAO on the mesh and with the smearing of the plane-wave reference",
        r"DOS$(E_\mathrm{F})$, same mesh"),
    Key("omega_p_compared_eV", "number", "value", "eV", "",
        "Plasma energy from LCAO on the mesh and with the smearing of the plane-wave reference",
        r"$\hbar\omega_\mathrm{p}$, same mesh"),
    Key("dos_plane_wave_per_eV_atom", "number", "value", "1/(eV atom)", "",
        "Density of states at the Fermi energy from plane waves", r"DOS$(E_\mathrm{F})$, plane waves"),
    Key("omega_p_plane_wave_eV", "number", "value", "eV", "", "Plasma energy from plane-wave bands",
        r"$\hbar\omega_\mathrm{p}$, plane waves"),
    Key("band_rms_eV", "number", "value", "eV", "",
        "Root mean square difference of LCAO and plane-wave bands near E_F", "rms band difference"),
    Key("created", "text", "value", "", "", "When the record was made, UTC, ISO 8601"),
    Key("path", "json", "detail", "1/Å", "", "Distance along the band path, one number per k-point",
        "Wave vector"),
    Key("path_ticks", "json", "detail", "1/Å", "", "Special points of the path: list of [distance, name]"),
    Key("bands_lcao_eV", "json", "detail", "eV", "", "LCAO bands relative to E_F, [k-point][band]",
        r"$E - E_\mathrm{F}$"),
    Key("bands_plane_wave_eV", "json", "detail", "eV", "",
        "Plane-wave bands relative to E_F, [k-point][band]",
        r"$E - E_\mathrm{F}$"),
    Key("checks", "json", "detail", "", "",
        "Comparison with plane waves: name, value, comparison, limit, passed"),
    Key("provenance", "json", "detail", "", "", "Versions, settings hash, git commit, sources"),
)

#: every key of a record by name
BY_NAME: dict[str, Key] = {key.name: key for key in KEYS}


def key(name: str) -> Key:
    """The key of a record called `name`.

    Raises
    ------
    InputError : no key has this name; the message suggests near ones
    """
    if name in BY_NAME:
        return BY_NAME[name]
    import difflib  # only on the way to an error

    filterable = [k.name for k in KEYS if k.kind != "json"]
    near = difflib.get_close_matches(name, filterable, n=3, cutoff=0.5)
    raise InputError("key", name, ", ".join(near or filterable))


def help_text() -> str:
    """The keys as plain lines for the command line help."""
    rows = [(k.name, k.unit, k.description) for k in KEYS if k.kind != "json"]
    width = max(len(name) for name, _, _ in rows)
    return "\n".join(f"  {name:{width}}  {what}{f' [{unit}]' if unit else ''}" for name, unit, what in rows)


def markdown() -> str:
    """The page docs/keys.md: both tables (`python -m emforce.keys > docs/keys.md` writes it)."""
    lines = [
        "# Keys of the parameter database", "",
        "Made from `emforce/keys.py` by `python -m emforce.keys > docs/keys.md`; do not edit.", "",
        "Sign convention: the force on the atom is F = e Z E. Z > 0 is a force along the electric field, "
        "against the electrons (upwind); Z < 0 is with the electrons (downwind).", "",
    ]
    for title, keys in (("Records: one site of one hop, or its average", KEYS), ("Hosts", HOST_KEYS)):
        lines += [f"## {title}", "", "| key | kind | role | unit | sign | meaning |", "| --- " * 6 + "|"]
        for k in keys:
            lines.append(f"| `{k.name}` | {k.kind} | {k.role} | {k.unit} | {k.sign} | {k.description} |")
        lines.append("")
    lines += [
        "Roles: rows that agree in all identity keys describe the same thing, and the newest successful one "
        "is served; details appear in JSON and CSV; evaluated keys are computed when asked for.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
