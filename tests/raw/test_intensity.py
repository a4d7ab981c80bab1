"""Deep images to 8 bit, against numpy's own arithmetic; what is odd about them is a finding."""

from pathlib import Path

import numpy as np
import pytest

from seg.core.errors import DataError
from seg.raw.intensity import Range, to_8_bit
from seg.raw.record import Finding

FILE = Path("scan.tif")
DEEP = np.random.default_rng(0).normal(2000, 500, (40, 50, 3)).clip(0, 65535)


def kinds(found: list[Finding]) -> list[str]:
    return [finding.kind for finding in found]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
@pytest.mark.parametrize("ends", [(0, 4095), (500.5, 3000), (-100, 900)])
def test_a_range_is_linear_rounded_and_clipped(dtype: str, ends: tuple[float, float]) -> None:
    pixels = (DEEP if dtype != "uint8" else DEEP / 16).astype(dtype)
    expected = np.array(
        [[min(255, max(0, round(255 * (float(v) - ends[0]) / (ends[1] - ends[0])))) for v in row] for row in pixels[..., 1]]
    )
    scaled, _ = to_8_bit(pixels, ends, FILE)
    assert scaled.dtype == np.uint8
    assert np.abs(scaled[..., 1] - expected).max() <= 1
    assert (scaled[..., 1] != expected).mean() < 0.001, "but for halves, which fall to either side"
    assert dtype == "uint8" or len(np.unique(scaled)) > 30


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_an_images_own_range_is_that_of_its_percentiles_a_channel(dtype: str) -> None:
    pixels = (DEEP * [1, 0.5, 2] / (64 if dtype == "uint8" else 1)).astype(dtype)
    scaled, found = to_8_bit(pixels, "image", FILE)
    for c in range(3):
        low, high = np.percentile(pixels[..., c], [0.1, 99.9])
        expected = np.rint(np.clip((pixels[..., c].astype(np.float64) - low) / (high - low), 0, 1) * 255)
        assert np.abs(scaled[..., c] - expected).max() <= 1
        assert (scaled[..., c].min(), scaled[..., c].max()) == (0, 255)
    assert found == []


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        ((5, 200), "uint16", r"has uint16 pixels from 5 to 200, expected 8 bit; set data.range=\[0,255\] \(the values"),
        ((5, 1023), "uint16", r"from 5 to 1023, expected 8 bit; set data.range=\[0,1023\]"),
        ((5, 1024), "int16", r"has int16 pixels from 5 to 1024, expected 8 bit; set data.range=\[0,4095\]"),
        ((0, 65535), "uint16", r"set data.range=\[0,65535\]"),
        ((-7, 900), "int16", r"from -7 to 900, expected 8 bit; set data.range=\[-7,900\]"),
        ((0.25, 1), "float32", r"has float32 pixels from 0.25 to 1, expected 8 bit; set data.range=\[0,1\]"),
        (
            (-1.5, 1e9),
            "float64",
            r"set data.range=\[-1.5,1e\+09\] \(the values that become .* or data.range=image \(each image's own range\)$",
        ),
    ],
)
def test_deep_images_without_a_range_are_refused_with_one(values: tuple[float, float], dtype: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^scan.tif: .*{message}"):
        to_8_bit(np.array(values, dtype).reshape(1, 2, 1), None, FILE)


def test_images_of_8_bit_stay_as_they_are() -> None:
    pixels = (DEEP / 16).astype(np.uint8)
    same, found = to_8_bit(pixels, None, FILE)
    assert same is pixels
    assert found == []


@pytest.mark.parametrize(
    ("high", "wanted", "expected"),
    [(255, "image", True), (256, "image", False), (255, (0, 4095), True), (256, (0, 4095), False), (255, (0, 255), False)],
)
def test_8_bit_data_saved_deeper_is_a_finding(high: int, wanted: Range, expected: bool) -> None:
    pixels = np.array([[[0], [high]]], np.uint16)
    found = to_8_bit(pixels, wanted, FILE)[1]
    assert kinds(found) == (["low-range"] if expected else [])
    assert not expected or str(found[0]).startswith("scan.tif: has uint16 pixels but no value above 255: 8-bit data saved deeper; set data")


@pytest.mark.parametrize(("clipped", "expected"), [(10, False), (11, True)])
def test_more_than_a_hundredth_clipped_is_a_finding(clipped: int, expected: bool) -> None:
    pixels = np.full((1, 1000, 1), 1000, np.uint16)
    pixels[0, 0], pixels[0, 1 : clipped // 2 + 1], pixels[0, clipped // 2 + 1 : clipped + 1] = 100, 99, 4001
    found = to_8_bit(pixels, (100, 4000), FILE)[1]
    assert kinds(found) == (["clipped-range"] if expected else [])
    assert not expected or found[0].what == "1.1% of its values lie outside of data.range=[100,4000] and are clipped"


@pytest.mark.parametrize("wanted", [None, "image", (0, 4095)])
def test_a_constant_image_is_a_finding(wanted: Range) -> None:
    pixels = np.full((4, 5, 3), 7, np.uint8)
    assert kinds(to_8_bit(pixels, wanted, FILE)[1]) == ["constant-image"]
    pixels[0, 0, 2] = 8
    assert kinds(to_8_bit(pixels, wanted, FILE)[1]) == []


def test_values_that_are_not_finite_become_the_nearer_end_and_are_a_finding() -> None:
    pixels = np.array([0, 4, 10, np.nan, np.inf, -np.inf], np.float32).reshape(2, 3, 1)
    scaled, found = to_8_bit(pixels, (0, 10), FILE)
    assert scaled.ravel().tolist() == [0, 102, 255, 0, 255, 0]
    assert kinds(found) == ["not-finite", "clipped-range"]
    assert found[0].what.startswith("3 of its values are not finite")
    scaled, found = to_8_bit(pixels, "image", FILE)
    assert scaled.ravel().tolist() == [0, 102, 255, 0, 255, 0]
    assert kinds(found) == ["not-finite"]
    assert kinds(to_8_bit(np.full((2, 2, 1), np.nan), "image", FILE)[1]) == ["not-finite", "constant-image"]
