"""Published values: every one has a source, converts as printed, and is marked where it was not seen."""

from __future__ import annotations

import pytest

from emforce.errors import InputError
from emforce.materials import materials
from emforce.reference import as_table, directions, record_of, reference_records

ENTRY = {"id": "x", "metal": "Cu", "method": "measured", "ea_kcal_mol": 50.0, "d0_cm2_s": 0.5, "temperature_C": [0, 100],
         "source": "A. Author, J. Phys. 1, 1 (1900)", "seen": "the paper", "verified": True}  # fmt: skip


def test_every_value_has_a_source_and_says_where_it_was_seen():
    found = reference_records()
    assert len({record.spec for record in found}) == len(found) > 10
    for record in found:
        assert record.metal in materials() and record.values() and record.site == "hop average"
        assert record.source and record.provenance["seen"]
        from_memory = "from memory" in record.provenance["seen"] and "the number" in record.provenance["seen"]
        assert not (from_memory and record.status == "literature")
        assert (record.status == "unverified") == bool(record.reason)
    assert all(d.source and d.seen and d.direction in ("upwind", "downwind", "both") for d in directions())


def test_printed_units_are_converted():
    record = record_of(ENTRY)
    assert record.ea_eV == pytest.approx(50.0 * 0.0433641, rel=1e-6) and record.d0_m2_s == pytest.approx(5e-5)
    assert (record.reported_low_K, record.reported_high_K) == pytest.approx((273.15, 373.15))
    assert (record.hop, record.status) == ("vacancy-110", "literature")
    assert record_of({**ENTRY, "metal": "W"}).hop == "vacancy-111"


def test_a_published_constant_needs_no_parts_of_its_uncertainty():
    assert record_of({**ENTRY, "k_wind_uohm_cm": -40.0}).k_wind_uohm_cm == -40.0


def test_tungsten_on_tungsten_stands_as_printed():
    (record,) = (r for r in reference_records() if r.spec == "literature w110-oh-2002")
    assert (record.facet, record.ea_eV) == ("110", 0.95) and record.d0_m2_s == pytest.approx(5.4e-7)


@pytest.mark.parametrize(
    "change, word",
    [({"source": ""}, "source"), ({"seen": " "}, "seen"), ({"verified": "yes"}, "verified"), ({"colour": 1}, "colour"),
     ({"d0_cm2_s": -1.0}, "d0_m2_s"), ({"metal": "Xx"}, "metal"), ({"temperature_C": [100, 0]}, "reported_low_K")],
)  # fmt: skip
def test_what_is_not_allowed_is_named(change, word):
    with pytest.raises(InputError, match=word):
        record_of({**ENTRY, **change})


def test_unverified_ones_are_marked_in_the_table():
    lines = as_table(reference_records()).splitlines()
    assert any("z_star_reported" in line and "unverified" in line for line in lines)
    (seen,) = (line for line in lines if "z_star_reported" in line and "literature" in line.split("  "))
    assert seen.startswith("Au") and "H. M. Gilder" in seen
    assert any("upwind" in line for line in lines)
