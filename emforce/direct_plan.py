"""The graph of steps of the direct valence of one hop, on top of the ground states of its wind force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emforce.settings import Direct
from emforce.steps import Document, Step

#: of the change that the last shells of a region made, what is still to come: root mean square 0.4 of it, 0.0 to 1.0, in eight
#: cases on Cu(100) and W(110) (regions of 4.6 and 5.4 A, docs/direct.md); where the region had to end early, its part of sigma
STILL_TO_COME = 0.4
#: whose couplings an embedding keeps outside the supercell
COUPLINGS = "new orbitals, and those of atoms that left their site, with all host sites in the region"


@dataclass(frozen=True)
class DirectHop:
    """What the direct valence takes of a planned hop.

    Attributes
    ----------
    title : for people, such as W(110)
    common : inputs that every step of the hop has: geometry, setups, settings of the density functional theory
    images, labels : document and label of each image
    needs : the ground states by name
    embedding : the embedding that the wind force is served from; tables : the step of its host's Green functions
    others : the embeddings that the wind force is compared with, another slab or a coarser mesh, and their tables at E_F
    fermi_error : uncertainty of E_F, eV; its tables hold it with both signs
    axes : of the field
    """

    title: str
    common: Document
    images: Sequence[Document]
    labels: Sequence[str]
    needs: Mapping[str, Step]
    embedding: Document
    tables: Step
    others: Sequence[tuple[Document, Step]]
    fermi_error: float
    axes: tuple[int, ...]


def direct_step(hop: DirectHop, settings: Direct) -> Step:
    """Dipoles of the hosts, a mover per image, a response per hbar/tau, and the step that joins these.

    Mesh, region, width of the average and Fermi energy are those that the wind force is served from. Z_direct is what the whole
    response has beyond tau m, m of the same defect in the same host. Variations run at the middle hbar/tau.
    """
    movers = _movers(hop, dipoles_step(hop, hop.needs["host"]))
    needs = _needs(hop, hop.embedding, hop.tables) | movers
    omegas = settings.omegas_eV
    middle = sorted(omegas)[len(omegas) // 2]
    edge = {middle: {"edge": "other F"}} if "edge" in settings.vary else {}
    responses = {f"response {omega:g}": _response(hop, hop.embedding, needs, {"omega": omega}, edge.get(omega, {}))
                 for omega in omegas}
    varied, entries = {}, []
    for part, change in _variations(hop, settings):
        name = f"{part} {next(iter(change.values())):g}"
        varied[name] = _response(hop, hop.embedding, needs, {"omega": middle} | change)
        entries.append({"part": part, "response": name})
    for embedding, tables in hop.others if "layers" in settings.vary else ():
        name = f"layers {embedding['name']}"
        varied[name] = _response(hop, embedding, _needs(hop, embedding, tables) | movers, {"omega": middle})
        entries.append({"part": "layers", "response": name})
    inputs = {"responses": list(responses), "variations": entries, "middle": f"response {middle:g}",
              "still_to_come": STILL_TO_COME}
    return Step("direct", f"{hop.title} direct valence", inputs, responses | varied, seconds=0.1, resources="light")


def _variations(hop: DirectHop, settings: Direct) -> list[tuple[str, dict[str, float]]]:
    """Part of sigma, and what changes in the response."""
    radii = list(hop.embedding["radii"])
    found: list[tuple[str, dict[str, float]]] = []
    smaller = [r for r in radii if r < radii[0]]  # the mover's step reaches no farther than the served radius
    if "region" in settings.vary and smaller:
        found.append(("region", {"radius": max(smaller), "served_radius": radii[0]}))
    if "frequencies" in settings.vary:
        found.append(("frequencies", {"explicit": 8}))
    if "fermi_energy" in settings.vary:
        found += [("fermi_energy", {"level": e}) for e in (-hop.fermi_error, hop.fermi_error)]
    return found


def _needs(hop: DirectHop, embedding: Document, tables: Step) -> dict[str, Step]:
    """What a response takes of the host of an embedding."""
    host, thick = hop.needs["host"], hop.needs[embedding["host"]]
    found = {"host": host, "dipoles": dipoles_step(hop, thick), "tables": tables}
    return found if thick is host else found | {"thick": thick}


def _movers(hop: DirectHop, own: Step) -> dict[str, Step]:
    movers = {}
    for image, label in zip(hop.images, hop.labels, strict=True):
        used = [image["name"], *(name for signs in image["displaced"].values() for name in signs.values())]
        inputs = hop.common | {"image": image, "reach": hop.embedding["radii"][0], "couplings": COUPLINGS}
        movers[f"mover {image['name']}"] = Step("mover", f"{hop.title} {label}: dipoles of the moving atom", inputs,
                                               {n: hop.needs[n] for n in ("host", *used)} | {"dipoles": own},
                                               seconds=0.4 * len(image["atoms"]["symbols"]), resources="embedding")
    return movers


def _response(
    hop: DirectHop, embedding: Document, needs: Mapping[str, Step], change: Mapping[str, float],
    more: Mapping[str, str] | None = None,
) -> Step:
    """Response of all images; `change` is what differs from the served radius and level, and the omega, `more` what is added."""
    inputs = {
        "omega": 0.0,
        "mesh": embedding["mesh"],
        "radius": hop.embedding["radii"][0],
        "atoms": embedding["atoms"],
        "axes": list(hop.axes),
        "movers": [name for name in needs if name.startswith("mover ")],
        "sigma": hop.embedding["sigmas"][0],
        "orbitals": "carry the host's couplings over the edge",
    } | dict(change) | dict(more or {})
    words = ", ".join(f"{name} {value:g}" for name, value in change.items() if name not in ("omega", "served_radius"))
    title = f"{hop.title} response at {inputs['omega']:g} eV" + (f", {words}" if words else "")
    if embedding is not hop.embedding:
        title += f", in {embedding['name']}"
    return Step("response", title, inputs, needs, seconds=15.0 * len(hop.images), resources="embedding")


def dipoles_step(hop: DirectHop, host: Step) -> Step:
    """Dipole matrices of the basis of a host."""
    inputs = {name: host.inputs[name] for name in ("atoms", "setups", "dft")}
    count = len(host.inputs["atoms"]["symbols"])
    return Step("dipoles", f"{hop.title} dipoles of {count} host atoms", inputs, {"host": host}, seconds=2.0 + 0.5 * count,
                resources="embedding")
