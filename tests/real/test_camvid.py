"""CamVid as it lies beside the project, prepared: counts and class shares are those published with it."""

from pathlib import Path

import pytest
from real_sets import needs, prepared_once

from seg.data.store import read_info

SHARES = [16.85, 23.26, 0.98, 31.66, 4.49, 9.72, 1.17, 1.13, 5.87, 0.64, 0.29]  # percent of all pixels in train; void has 3.95

pytestmark = needs("camvid")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_once(tmp_path_factory, "camvid")


def test_the_published_counts(folder: Path) -> None:
    info = read_info(folder)
    assert (info.name, info.task, info.channels) == ("camvid", "semantic", 3)
    assert {name: counts["num_images"] for name, counts in info.splits.items()} == {"train": 367, "val": 101, "test": 233}
    assert all(list(counts["sizes"]) == ["360x480"] for counts in info.splits.values())


def test_the_published_class_shares(folder: Path) -> None:
    counts = read_info(folder).splits["train"]
    pixels = 367 * 360 * 480
    assert sum(counts["class_pixels"]) + counts["ignored_pixels"] == pixels
    assert [100 * n / pixels for n in counts["class_pixels"]] == pytest.approx(SHARES, abs=0.01)
    assert 100 * counts["ignored_pixels"] / pixels == pytest.approx(3.95, abs=0.01)
