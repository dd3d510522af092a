"""The graph of steps of the direct valence of one hop, on top of the ground states of its wind force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emforce.settings import Direct
from emforce.steps import Document, Step


@dataclass(frozen=True)
class DirectHop:
    """What the direct valence takes of a planned hop.

    Attributes
    ----------
    title : for people, such as W(110)
    common : inputs that every step of the hop has: geometry, setups, settings of the density functional theory
    images, labels : document and label of each image
    needs : the ground states by name
    embedding : the embedding that the wind force is served from; embedded : its step for each image
    axes : of the field
    """

    title: str
    common: Document
    images: Sequence[Document]
    labels: Sequence[str]
    needs: Mapping[str, Step]
    embedding: Document
    embedded: Sequence[Step]
    axes: tuple[int, ...]


def direct_step(hop: DirectHop, settings: Direct) -> Step:
    """Dipoles of the hosts, a mover per image, a response per hbar/tau, and the step that joins these.

    Mesh, region, width of the average and Fermi energy are those that the wind force is served from: Z_direct is what the whole
    response has beyond that.
    """
    host, thick = hop.needs["host"], hop.needs[hop.embedding["host"]]
    own = dipoles_step(hop, host)
    wide = own if thick is host else dipoles_step(hop, thick)
    movers = {}
    for image, label in zip(hop.images, hop.labels, strict=True):
        used = [image["name"], *(name for signs in image["displaced"].values() for name in signs.values())]
        inputs = hop.common | {"image": image, "reach": hop.embedding["radii"][0]}
        movers[f"mover {image['name']}"] = Step("mover", f"{hop.title} {label}: dipoles of the moving atom", inputs,
                                               {n: hop.needs[n] for n in ("host", *used)} | {"dipoles": own},
                                               seconds=0.4 * len(image["atoms"]["symbols"]), resources="embedding")
    hosts = {"host": host, "dipoles": wide, "tables": hop.embedded[0].needs["tables"]}
    if thick is not host:
        hosts["thick"] = thick
    responses = {}
    for omega in settings.omegas_eV:
        inputs = {
            "omega": omega,
            "mesh": hop.embedding["mesh"],
            "radius": hop.embedding["radii"][0],
            "atoms": hop.embedding["atoms"],
            "axes": list(hop.axes),
            "movers": list(movers),
            "sigma": hop.embedding["sigmas"][0],
        }
        responses[f"response {omega:g}"] = Step("response", f"{hop.title} response at {omega:g} eV", inputs, hosts | movers,
                                                seconds=30.0 * len(hop.images), resources="embedding")
    embedded = {f"wind {n}": step for n, step in enumerate(hop.embedded)}
    return Step("direct", f"{hop.title} direct valence", {"responses": list(responses), "wind": list(embedded)},
                responses | embedded, seconds=0.1, resources="light")


def dipoles_step(hop: DirectHop, host: Step) -> Step:
    """Dipole matrices of the basis of a host."""
    inputs = {name: host.inputs[name] for name in ("atoms", "setups", "dft")}
    count = len(host.inputs["atoms"]["symbols"])
    return Step("dipoles", f"{hop.title} dipoles of {count} host atoms", inputs, {"host": host}, seconds=2.0 + 0.5 * count,
                resources="embedding")
