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
    embedding : the embedding that the wind force is served from
    axes : of the field
    sigma : width that the Fermi energy is counted with, eV
    """

    title: str
    common: Document
    images: Sequence[Document]
    labels: Sequence[str]
    needs: Mapping[str, Step]
    embedding: Document
    axes: tuple[int, ...]
    sigma: float


def direct_step(hop: DirectHop, settings: Direct) -> Step:
    """Dipoles of the hosts, a mover per image, a response per hbar/tau, and the step that joins these."""
    host, thick = hop.needs["host"], hop.needs[hop.embedding["host"]]
    own = dipoles_step(hop, host)
    wide = own if thick is host else dipoles_step(hop, thick)
    movers = {}
    for image, label in zip(hop.images, hop.labels, strict=True):
        used = [image["name"], *(name for signs in image["displaced"].values() for name in signs.values())]
        inputs = hop.common | {"image": image, "reach": settings.radius_A}
        movers[f"mover {image['name']}"] = Step("mover", f"{hop.title} {label}: dipoles of the moving atom", inputs,
                                               {n: hop.needs[n] for n in ("host", *used)} | {"dipoles": own},
                                               seconds=0.4 * len(image["atoms"]["symbols"]), resources="embedding")
    hosts = {"host": host, "dipoles": wide} | ({} if thick is host else {"thick": thick})
    responses = {}
    for omega in settings.omegas_eV:
        inputs = {
            "omega": omega,
            "smallest": min(settings.omegas_eV),
            "mesh": mesh(hop.embedding["mesh"], settings.mesh_share),
            "radius": settings.radius_A,
            "atoms": hop.embedding["atoms"],
            "axes": list(hop.axes),
            "movers": list(movers),
            "sigma": hop.sigma,
        }
        responses[f"response {omega:g}"] = Step("response", f"{hop.title} response at {omega:g} eV", inputs, hosts | movers,
                                                seconds=30.0 * len(hop.images), resources="embedding")
    return Step("direct", f"{hop.title} direct valence", {"responses": list(responses)}, responses, seconds=0.1,
                resources="light")


def dipoles_step(hop: DirectHop, host: Step) -> Step:
    """Dipole matrices of the basis of a host."""
    inputs = {name: host.inputs[name] for name in ("atoms", "setups", "dft")}
    count = len(host.inputs["atoms"]["symbols"])
    return Step("dipoles", f"{hop.title} dipoles of {count} host atoms", inputs, {"host": host}, seconds=2.0 + 0.5 * count,
                resources="embedding")


def mesh(wind: Sequence[int], share: float) -> list[int]:
    """The mesh of the wind's tables, thinned by `share` along its sampled axes to an even number."""
    return [max(2 * round(0.5 * share * n), 2) if n > 1 else 1 for n in wind]
