"""The keys of the parameter database: one list of names, units, signs and meanings.

The columns of the database, the help text of the command line, the table in docs/keys.md and the axis labels
of the figures are all made from `KEYS` and `HOST_KEYS`, so that a name has one meaning everywhere. A new key
is a line here, a field of `emforce.record.Record` (or `Host`) and a file in emforce/migrations/versions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .errors import InputError

#: how the sites of drift along a direction of the surface begin (`emforce.drift`)
DRIFT = "drift "
Kind = Literal["text", "number", "json"]
Role = Literal["identity", "value", "detail", "evaluated"]
#: what a key belongs to: rows of one hop are joined group by group (`emforce.best`)
Group = Literal["", "wind", "direct", "kinetics", "heat", "reported"]


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
    group : the step of the theory that gives it
    since : schema version in which it was added
    """

    name: str
    kind: Kind
    role: Role
    unit: str
    sign: str
    description: str
    label: str = ""
    group: Group = ""
    since: int = 1

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
_COLD = "> 0: towards the cold end"

_IDENTITY: tuple[Key, ...] = (
    Key("spec", "text", "identity", "", "", "Name of the input specification"),
    Key("metal", "text", "identity", "", "", "Host metal, chemical symbol", "Metal"),
    Key("facet", "text", "identity", "", "", "Surface orientation such as 110, or bulk", "Facet"),
    Key("defect", "text", "identity", "", "",
        "What moves: adatom, vacancy, or files (structures given by the user)"),
    Key("hop", "text", "identity", "", "", "Name of the hop, such as hollow-bridge-hollow", "Hop"),
    Key("site", "text", "identity", "", "",
        "Position on the hop: initial, saddle, final, s=0.25 (a fraction), hop average, or drift [001]: the drift over all "
        "equivalent hops under a field along that direction", "Site"),
    Key("species", "text", "identity", "", "", "Chemical symbol of the moving atom", "Mover"),
    Key("preset", "text", "identity", "", "", "Settings file, overridden fields in brackets", "Preset"),
    Key("method", "text", "identity", "", "", "How the number was computed", "Method"),
    Key("basis", "text", "value", "", "", "Name of the LCAO basis"),
    Key("fraction", "number", "value", "", "", "Position as a fraction of the hop; none for a hop average",
        "Fraction of the hop $s$"),
)

_WIND: tuple[Key, ...] = (
    Key("k_wind_uohm_cm", "number", "value", _UOHM, _FIELD,
        "Wind-force constant K of Z_wind(T) = K/rho(T), force and field along the hop; or the hop average",
        r"$K_\mathrm{wind}$", group="wind"),
    Key("k_wind_sigma_uohm_cm", "number", "value", _UOHM, "",
        "Standard uncertainty of k_wind_uohm_cm: the parts below combined in quadrature",
        r"$\sigma(K_\mathrm{wind})$", group="wind"),
    Key("k_wind_sigma_parts_uohm_cm", "json", "detail", _UOHM, "",
        "Named parts of the uncertainty; a part that was not estimated is null and adds nothing", group="wind"),
    Key("k_tensor_uohm_cm", "json", "detail", _UOHM, _FIELD,
        "K as a tensor [force axis][field axis] in the axes of the hop: x along it, z the normal of the surface (in bulk the "
        "crystal's z axis without its part along x), y across; null where not computed (`dft.directions=all` computes all)",
        group="wind"),
    Key("k_tensor_sigma_uohm_cm", "json", "detail", _UOHM, "",
        "Standard uncertainty of each component of k_tensor_uohm_cm, without the parts that other rows measure; 0 where a "
        "component is forbidden", group="wind", since=4),
    Key("energies_eV", "json", "detail", "eV", "",
        "Energies of k_of_energy_uohm_cm relative to the Fermi energy",
        r"$E - E_\mathrm{F}$", group="wind"),
    Key("k_of_energy_uohm_cm", "json", "detail", _UOHM, _FIELD, "K along the hop evaluated at energies_eV",
        r"$K_\mathrm{wind}(E)$", group="wind"),
)

_DIRECT: tuple[Key, ...] = (
    Key("z_direct", "number", "value", "", _FIELD,
        "Direct valence: the part of the total response that does not grow with the scattering time; null where its drift "
        "over tau exceeds its size (then z_direct_low and z_direct_high are served)",
        r"$Z_\mathrm{direct}$", "direct", 2),
    Key("z_direct_sigma", "number", "value", "", "", "Standard uncertainty of z_direct, its drift over tau included",
        r"$\sigma(Z_\mathrm{direct})$", "direct", 2),
    Key("z_direct_low", "number", "value", "", _FIELD, "Lower end of the interval in which the direct valence lies",
        r"$Z_\mathrm{direct}$", "direct", 2),
    Key("z_direct_high", "number", "value", "", _FIELD, "Upper end of that interval",
        r"$Z_\mathrm{direct}$", "direct", 2),
    Key("z_direct_sigma_parts", "json", "detail", "", "",
        "Named parts of z_direct_sigma, the drift over tau among them; null: not estimated", group="direct", since=2),
    Key("z_direct_tensor", "json", "detail", "", _FIELD, "Direct valence as a tensor [force axis][field axis]",
        group="direct", since=2),
    Key("z_total_of_tau", "json", "detail", "", _FIELD,
        "Total response Z along the hop against the scattering rate: lists hbar_over_tau_eV, values, and remainders, Z less "
        "its own wind part tau m (rows of before November 2026 lack them), of equal length",
        r"$Z(\tau)$", "direct", 2),
    Key("z_fermi_sea", "number", "value", "", _FIELD,
        "Fermi-sea part of the Kubo-Bastin response: a diagnostic that depends on the basis, no valence",
        r"$Z_\mathrm{sea}$", "direct", 2),
)

_KINETICS: tuple[Key, ...] = (
    Key("barrier_eV", "number", "value", "eV", "", "Energy of the saddle above the initial site, without zero-point energy",
        r"$E_\mathrm{m}$", "kinetics", 2),
    Key("barrier_sigma_eV", "number", "value", "eV", "", "Standard uncertainty of barrier_eV", r"$\sigma(E_\mathrm{m})$",
        "kinetics", 2),
    Key("formation_energy_eV", "number", "value", "eV", "", "Formation energy of the adatom or vacancy",
        r"$E_\mathrm{f}$", "kinetics", 2),
    Key("formation_energy_sigma_eV", "number", "value", "eV", "", "Standard uncertainty of formation_energy_eV",
        r"$\sigma(E_\mathrm{f})$", "kinetics", 2),
    Key("nu0_THz", "number", "value", "THz", "", "Attempt frequency of the hop (Vineyard)", r"$\nu_0$", "kinetics", 2),
    Key("nu0_sigma_THz", "number", "value", "THz", "", "Standard uncertainty of nu0_THz", r"$\sigma(\nu_0)$", "kinetics", 2),
    Key("d0_m2_s", "number", "value", "m²/s", "", "Prefactor of D(T) = D0 exp(-E_a/k_B T)", "$D_0$", "kinetics", 2),
    Key("d0_sigma_m2_s", "number", "value", "m²/s", "", "Standard uncertainty of d0_m2_s", r"$\sigma(D_0)$", "kinetics", 2),
    Key("ea_eV", "number", "value", "eV", "", "Activation energy of D(T)", r"$E_\mathrm{a}$", "kinetics", 2),
    Key("ea_sigma_eV", "number", "value", "eV", "", "Standard uncertainty of ea_eV", r"$\sigma(E_\mathrm{a})$", "kinetics", 2),
    Key("kinetics_condition", "text", "value", "", "",
        "What the diffusion coefficient is of (tracer, adatom, mass transport) and where it holds", group="kinetics", since=2),
    Key("kinetics_details", "json", "detail", "", "",
        "Path, Hessian and their convergence: names with units, numbers or lists", group="kinetics", since=2),
)

_HEAT: tuple[Key, ...] = (
    Key("q_of_temperature", "json", "detail", "", _COLD,
        "Heat of transport against temperature: lists of equal length temperature_K and any of q_el_eV, q_el_sigma_eV, "
        "q_star_eV, q_star_sigma_eV, seebeck_uV_K, seebeck_sigma_uV_K; null: not computed", group="heat", since=2),
    Key("q_lattice_low_eV", "number", "value", "eV", _COLD, "Lower bound of the lattice part of the heat of transport",
        r"$Q_\mathrm{lattice}$", "heat", 2),
    Key("q_lattice_high_eV", "number", "value", "eV", _COLD, "Upper bound of the lattice part of the heat of transport",
        r"$Q_\mathrm{lattice}$", "heat", 2),
    Key("q_condition", "text", "value", "", "",
        "Condition under which the heat of transport holds: E=0 (no field) or J=0 (open circuit)", group="heat", since=2),
)

_REPORTED: tuple[Key, ...] = (
    Key("z_star_reported", "number", "value", "", _FIELD, "Effective valence as published, at the reported temperatures",
        "$Z^*$", "reported", 2),
    Key("z_star_reported_sigma", "number", "value", "", "", "Uncertainty of z_star_reported where the source gives one",
        r"$\sigma(Z^*)$", "reported", 2),
    Key("z_wind_reported", "number", "value", "", _FIELD, "Wind valence as published, at the reported temperatures",
        r"$Z_\mathrm{wind}$", "reported", 2),
    Key("reported_low_K", "number", "value", "K", "", "Lowest temperature of the published values", "$T$", "reported", 2),
    Key("reported_high_K", "number", "value", "K", "", "Highest temperature of the published values", "$T$", "reported", 2),
    Key("source", "text", "value", "", "", "Publication of a literature row; empty for what emforce computed",
        group="reported", since=2),
)

_RECORD: tuple[Key, ...] = (
    Key("hop_vector_angstrom", "json", "detail", "Å", "", "Hop vector from initial to final site"),
    Key("residual_force_eV_per_angstrom", "number", "value", "eV/Å", "",
        "Largest force left on a relaxed degree of freedom of the image", "Residual force"),
    Key("status", "text", "value", "", "",
        "ok, failed, unconverged, outside tolerance (a check of the host failed), literature, or unverified (literature that was "
        "not seen at its source); only ok is served, literature when asked for"),
    Key("reason", "text", "value", "", "", "Why the status is not ok"),
    Key("created", "text", "value", "", "", "When the record was made, UTC, ISO 8601"),
    Key("checks", "json", "detail", "", "",
        "Checks made on the number: name, value, comparison, limit, passed"),
    Key("provenance", "json", "detail", "", "",
        "Versions, settings hash, structure hash, git commit, host check, source of rho"),
)

_EVALUATED: tuple[Key, ...] = (
    Key("standing", "text", "evaluated", "", "",
        "current (served), superseded (a newer successful run exists), literature, unverified (literature that was not seen "
        "at its source: in no comparison) or not served (status is not ok)"),
    Key("joined", "json", "evaluated", "", "",
        "Row, preset, method and basis that each group of values (wind, direct, kinetics, heat) was taken from, where rows of "
        "one hop were joined"),
    Key("rank_value", "number", "evaluated", "in the units of its keys", "", "Value of the expression given to --sort"),
    Key("temperature_K", "number", "evaluated", "K", "", "Temperature at which the row is evaluated",
        "Temperature $T$"),
    Key("wire_diameter_nm", "number", "evaluated", "nm", "", "Diameter of the wire whose resistivity is taken; null: bulk",
        "Wire diameter $d$"),
    Key("rho_uohm_cm", "number", "evaluated", _UOHM, "", "Resistivity at temperature_K of the bulk metal, or of the wire",
        r"$\rho$"),
    Key("rho_sigma_uohm_cm", "number", "evaluated", _UOHM, "", "Standard uncertainty of rho_uohm_cm; null: its source gives none",
        r"$\sigma(\rho)$"),
    Key("rho_source", "text", "evaluated", "", "",
        "Source of rho_uohm_cm, with the words 'not verified' where it was not seen at its source, and the wire's model"),
    Key("z_wind", "number", "evaluated", "", _FIELD, "Wind valence K/rho(T); force = e z_wind E",
        r"$Z_\mathrm{wind}$"),
    Key("z_wind_sigma", "number", "evaluated", "", "",
        "Standard uncertainty of z_wind: that of K, and that of rho where rho_sigma_uohm_cm is known",
        r"$\sigma(Z_\mathrm{wind})$"),
    Key("direction", "text", "evaluated", "", "",
        "upwind (z_wind > 0), downwind (z_wind < 0), or undecided where sigma covers zero or is not known; empty without z_wind"),
    Key("direct_model", "text", "evaluated", "", "",
        "Direct part of z_star: dft (z_direct of the row), nominal (model: ion charge), drude (model: Drude number of the host "
        "atom), none (wind alone), reported (a literature value as it is)"),
    Key("z_direct_used", "number", "evaluated", "", _FIELD, "Direct valence that direct_model puts into z_star",
        r"$Z_\mathrm{direct}$"),
    Key("z_star", "number", "evaluated", "", _FIELD,
        "Effective valence z_direct_used + z_wind; null where the direct part is not there or is an interval", "$Z^*$"),
    Key("z_star_sigma", "number", "evaluated", "", "",
        "Standard uncertainty of z_star; a model's direct part adds nothing to it", r"$\sigma(Z^*)$"),
    Key("z_star_low", "number", "evaluated", "", _FIELD,
        "z_star - z_star_sigma; where the direct part is an interval, its lower end + z_wind - z_wind_sigma", "$Z^*$"),
    Key("z_star_high", "number", "evaluated", "", _FIELD, "The same at the upper end", "$Z^*$"),
    Key("direction_total", "text", "evaluated", "", "",
        "upwind (z_star_low > 0), downwind (z_star_high < 0), or undecided; empty without z_star and its interval"),
    Key("force_per_j_fN_m2_TA", "number", "evaluated", "fN m²/TA", _FIELD,
        "Force per current density e z_star rho; 1 TA/m² is 100 MA/cm²", "$F/j$"),
    Key("force_per_j_sigma_fN_m2_TA", "number", "evaluated", "fN m²/TA", "",
        "Its standard uncertainty (rho cancels from the wind part)", r"$\sigma(F/j)$"),
    Key("d_m2_s", "number", "evaluated", "m²/s", "", "Diffusion coefficient D0 exp(-E_a/k_B T)", "$D$"),
    Key("d_factor", "number", "evaluated", "", "",
        "One standard uncertainty of d_m2_s as a factor: exp of the uncertainty of ln D", r"$\exp\sigma(\ln D)$"),
    Key("rate_per_s", "number", "evaluated", "1/s", "", "Hop rate without field nu0 exp(-E_m/k_B T)", r"$\Gamma$"),
    Key("q_el_eV", "number", "evaluated", "eV", _COLD, "Electronic heat of transport without field, at temperature_K",
        r"$Q_\mathrm{el}$"),
    Key("q_el_sigma_eV", "number", "evaluated", "eV", "", "Standard uncertainty of q_el_eV", r"$\sigma(Q_\mathrm{el})$"),
    Key("q_star_eV", "number", "evaluated", "eV", _COLD, "Total heat of transport at temperature_K, under q_condition", "$Q^*$"),
    Key("q_star_sigma_eV", "number", "evaluated", "eV", "", "Standard uncertainty of q_star_eV", r"$\sigma(Q^*)$"),
    Key("seebeck_uV_K", "number", "evaluated", "µV/K", "", "Seebeck coefficient of the host at temperature_K", "$S$"),
    Key("seebeck_sigma_uV_K", "number", "evaluated", "µV/K", "", "Standard uncertainty of seebeck_uV_K", r"$\sigma(S)$"),
)

KEYS: tuple[Key, ...] = (
    *_IDENTITY, *_WIND, *_DIRECT, *_KINETICS, *_HEAT, *_REPORTED, *_RECORD, *_EVALUATED,
)

#: the uncertainty of each value that has one
SIGMA_OF: dict[str, str] = {
    "k_wind_uohm_cm": "k_wind_sigma_uohm_cm",
    "z_direct": "z_direct_sigma",
    "barrier_eV": "barrier_sigma_eV",
    "formation_energy_eV": "formation_energy_sigma_eV",
    "nu0_THz": "nu0_sigma_THz",
    "d0_m2_s": "d0_sigma_m2_s",
    "ea_eV": "ea_sigma_eV",
    "z_star_reported": "z_star_reported_sigma",
    "rho_uohm_cm": "rho_sigma_uohm_cm",
    "z_wind": "z_wind_sigma",
    "z_star": "z_star_sigma",
    "force_per_j_fN_m2_TA": "force_per_j_sigma_fN_m2_TA",
    "q_el_eV": "q_el_sigma_eV",
    "q_star_eV": "q_star_sigma_eV",
    "seebeck_uV_K": "seebeck_sigma_uV_K",
}

_PHONONS: tuple[Key, ...] = (
    Key("phonon_status", "text", "value", "", "", "ok, failed: and why, or empty where no phonons were computed", since=3),
    Key("debye_temperature_K", "number", "value", "K", "",
        "Debye temperature of the computed phonons: low-temperature limit, from the sound velocities", r"$\Theta_\mathrm{D}$",
        since=3),
    Key("debye_temperature_sigma_K", "number", "value", "K", "",
        "Numerical standard uncertainty of debye_temperature_K: interaction range and acoustic sum rule",
        r"$\sigma(\Theta_\mathrm{D})$", since=3),
    Key("phonon_path", "json", "detail", "1/Å", "", "Distance along the path of the phonon bands, one number per q-point",
        "Wave vector", since=3),
    Key("phonon_ticks", "json", "detail", "1/Å", "", "Special points of that path: list of [distance, name]", since=3),
    Key("phonon_bands_THz", "json", "detail", "THz", "", "Phonon frequencies, [q-point][branch]", "Frequency", since=3),
    Key("phonon_details", "json", "detail", "", "",
        "Of the phonons: supercell, sum rule, density of modes, parts of the uncertainty, measured Debye temperature", since=3),
)

#: the keys of a host that `emforce phonons` fills
PHONON_KEYS: tuple[str, ...] = tuple(key.name for key in _PHONONS)

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
    *_PHONONS,
)

#: every key of a record by name
#: stored keys that a query without details leaves out; those of the heat of transport are evaluated
DETAILS = frozenset(key.name for key in KEYS if key.stored and key.kind == "json" and key.group != "heat")

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
