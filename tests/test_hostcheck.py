"""The standing check of a host is a pure function of plain arrays."""

from __future__ import annotations

import numpy as np
import pytest

from emforce.errors import InputError
from emforce.physics.hostcheck import Tolerance, band_errors, compare_host


def bands(points: int = 40) -> np.ndarray:
    k = np.linspace(0, np.pi, points)[:, None]
    return np.hstack([-6 - np.cos(k), -1.5 + np.cos(k), 3 - 2 * np.cos(k)])


def test_identical_bands_pass() -> None:
    check = compare_host(bands(), bands(), dos=(0.3, 0.3), omega_p=(9.0, 9.0), overlap_min=1e-3)
    assert check.passed and check.reasons == ()
    assert check.band_rms == 0.0 and check.dos_ratio == 1.0 and check.omega_p_ratio == 1.0


def test_only_the_window_counts() -> None:
    host = bands()
    host[:, 0] += 5.0 * 0.1  # the lowest band lies 5 to 7 eV below the Fermi level
    check = compare_host(host, bands(), dos=(0.3, 0.3), omega_p=(9.0, 9.0), overlap_min=1e-3)
    assert check.band_rms == 0.0


def test_rms_and_count_are_those_of_the_window() -> None:
    shift = 0.1
    errors = band_errors(bands() + shift, bands(), 2.0)
    assert errors.size == int((np.abs(bands()) <= 2.0).sum())
    assert np.allclose(errors, shift)


def test_more_host_bands_than_reference_bands_is_fine() -> None:
    host = np.hstack([bands(), np.full((40, 3), 20.0)])
    assert np.all(band_errors(host, bands(), 2.0) == 0.0)


def test_every_violation_is_named() -> None:
    check = compare_host(bands() + 0.2, bands(), dos=(0.33, 0.3), omega_p=(8.0, 9.0), overlap_min=1e-6)
    assert not check.passed
    assert len(check.reasons) == 4
    assert "+10.0 %" in check.reasons[1] and "-11.1 %" in check.reasons[2]


def test_tolerance_is_a_setting() -> None:
    loose = Tolerance(band_rms=0.3, dos=0.2, omega_p=0.2, overlap=1e-7)
    check = compare_host(bands() + 0.2, bands(), dos=(0.33, 0.3), omega_p=(8.0, 9.0), overlap_min=1e-6,
                         tolerance=loose)
    assert check.passed


def test_not_a_number_never_passes() -> None:
    with pytest.raises(InputError, match="host check: dos"):
        compare_host(bands(), bands(), dos=(float("nan"), 0.3), omega_p=(9.0, 9.0), overlap_min=1e-3)
    assert not compare_host(bands(), bands(), dos=(0.3, 0.3), omega_p=(9.0, 9.0), overlap_min=float("nan")).passed


@pytest.mark.parametrize("host", [bands(39), bands()[:, :2]])
def test_arrays_that_do_not_match(host: np.ndarray) -> None:
    with pytest.raises(InputError, match="bands"):
        compare_host(host, bands(), dos=(0.3, 0.3), omega_p=(9.0, 9.0), overlap_min=1e-3)


def test_bad_tolerance() -> None:
    with pytest.raises(InputError, match="band_rms"):
        Tolerance(band_rms=0.0)
