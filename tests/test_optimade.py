"""The OPTIMADE server: filters on fields `_emforce_...`, the models and the validator of optimade-python-tools."""

from __future__ import annotations

import json
import signal
import socket
from urllib.parse import urlencode

import numpy as np
import pytest
from ase.geometry import find_mic
from synthetic import record
from test_serve import RELAXED, REPOSITORY, fill, get, start

from emforce.cli import main
from emforce.database import Database
from emforce.optimade_server import PREFIX, fields
from emforce.query import Question, select
from emforce.relaxed import read_relaxed


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    location = tmp_path_factory.mktemp("optimade") / "emforce.db"
    fill(location)
    return location


@pytest.fixture(scope="module")
def server(database):
    process, address = start("--optimade", "--db", str(database), "-T", "600")
    yield address
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in err, err
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        pass


def structures(server, **asked):
    status, _, text = get(f"{server}/v1/structures?{urlencode(asked)}")
    assert status == 200, text
    return json.loads(text)["data"]


def test_filter_on_the_wind_valence(server, database):
    with Database(database) as opened:
        (expected,) = select(opened, ["metal=W site=initial"], Question((600.0,))).rows
    limit = expected["z_wind"]
    (found,) = structures(server, filter=f"_emforce_z_wind>{limit - 0.1:.6f} AND _emforce_metal=\"W\"")
    assert found["attributes"]["_emforce_z_wind"] == pytest.approx(limit, rel=1e-12)
    assert found["attributes"]["_emforce_temperature_k"] == 600.0
    assert found["attributes"]["_emforce_hop_average_k_wind_uohm_cm"] == 50.0
    assert structures(server, filter=f"_emforce_z_wind>{limit + 0.1:.6f}") == []
    assert structures(server, filter="_emforce_z_wind<-6") == []


def test_structure_is_that_of_the_repository(server):
    (found,) = structures(server, filter='elements HAS "W"')
    atoms = read_relaxed(REPOSITORY / RELAXED)[0]["0.00"]
    attributes = found["attributes"]
    assert np.array_equal(attributes["lattice_vectors"], atoms.cell.array)
    away = np.array(attributes["cartesian_site_positions"]) - atoms.positions
    assert find_mic(away, atoms.cell, atoms.pbc)[1].max() < 1e-6  # atoms at a face of the cell may stand on either side
    assert attributes["dimension_types"] == [1, 1, 0] and attributes["nsites"] == len(atoms) == 37


def test_replies_are_valid_by_the_models_of_optimade(server):
    from optimade.models import EntryInfoResponse, ReferenceResponseMany, StructureResponseMany

    StructureResponseMany(**json.loads(get(f"{server}/v1/structures")[2]))
    ReferenceResponseMany(**json.loads(get(f"{server}/v1/references")[2]))
    info = json.loads(get(f"{server}/v1/info/structures")[2])
    EntryInfoResponse(**info)
    field = info["data"]["properties"]["_emforce_k_wind_uohm_cm"]
    assert field["unit"] == "uOhm.cm" and "against the electrons" in field["description"]
    assert {f["name"] for f in fields()} <= set(info["data"]["properties"])
    assert all(f["name"].startswith(PREFIX) for f in fields())


def test_validator_of_optimade(server):
    from optimade.validator import ImplementationValidator

    validator = ImplementationValidator(base_url=f"{server}/v1", verbosity=0, page_limit=2)
    validator.validate_implementation()
    results = validator.results
    assert results.success_count > 50
    assert not results.failure_messages, results.failure_messages
    assert not results.internal_failure_messages, results.internal_failure_messages


def test_bad_filter_is_refused_and_nothing_can_be_posted(server):
    status, _, text = get(f"{server}/v1/structures?filter=_emforce_nothing%3E1%20AND")
    assert status == 400 and "errors" in json.loads(text)


def test_no_structures_is_one_line(tmp_path, capsys):
    location = tmp_path / "emforce.db"
    with Database(location, create=True) as opened:
        opened.add(record())
    assert main(["serve", "--optimade", "--db", str(location), "--port", "0", "--root", str(tmp_path)]) == 2
    assert main(["serve", "--optimade", "--db", str(location), "--port", "0", "-T", "-1"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 2 and "cu100-adatom" in err
