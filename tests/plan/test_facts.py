"""The figures of a training split that a plan is made from."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg.data.sample import BACKGROUND, IGNORE, Sample
from seg.data.store import read_entries, read_info
from seg.plan import facts
from seg.plan.facts import contacts_of, gather_facts, look, objects_of, region_widths

NAMES = [BACKGROUND, "a", "b"]


def strip(width: float, angle: float, side: int = 400) -> np.ndarray:
    """A class map of a strip through the middle that leaves the image at both ends."""
    y, x = np.mgrid[:side, :side] - side / 2 + 0.5
    across = x * np.cos(np.radians(angle)) + y * np.sin(np.radians(angle))
    return (np.abs(across) < width / 2).astype(np.uint8)


@pytest.mark.parametrize("width", [1, 3, 12])
def test_a_strip_along_the_axes_is_as_wide_as_it_is(width: int) -> None:
    """Its outline in Crofton's formula: (1 + 2 * sqrt(1/2)) * pi / 8 of its length, less a step of each diagonal at the border."""
    labels = np.zeros((100, 60), np.uint8)
    labels[:, 20 : 20 + width] = 1
    outline = 2 * (100 + 2 * 99 * 0.5**0.5) * np.pi / 8
    assert region_widths(labels, NAMES)["a"] == pytest.approx(2 * 100 * width / outline)
    assert region_widths(labels, NAMES)["a"] == pytest.approx(width, rel=0.07)
    assert region_widths(labels.T.copy(), NAMES)["a"] == pytest.approx(region_widths(labels, NAMES)["a"])


@pytest.mark.parametrize("angle", [0, 10, 22.5, 30, 45, 60, 80])
def test_a_strip_is_as_wide_in_any_direction(angle: float) -> None:
    assert region_widths(strip(8, angle), NAMES)["a"] == pytest.approx(8, rel=0.07)


@pytest.mark.parametrize("diameter", [31, 81])
def test_a_disc_is_half_as_wide_as_its_diameter(diameter: int) -> None:
    labels = cv2.circle(np.zeros((120, 120), np.uint8), (60, 60), diameter // 2, 1, -1)
    assert region_widths(labels, NAMES)["a"] == pytest.approx(diameter / 2, rel=0.06)


def test_classes_have_widths_of_their_own_and_background_has_none() -> None:
    labels = np.zeros((200, 200), np.uint8)
    labels[:, 20:24], labels[:, 100:120] = 1, 2
    found = region_widths(labels, NAMES)
    assert found == {"a": pytest.approx(4, rel=0.07), "b": pytest.approx(20, rel=0.07)}
    labels[:, 24:30] = 2  # beside the first: the same outlines, and b has 6 columns more and two more outlines
    assert region_widths(labels, NAMES)["a"] == pytest.approx(found["a"])
    assert region_widths(labels, NAMES)["b"] == pytest.approx((20 + 6) / 2, rel=0.07)


def test_ignored_pixels_and_the_image_s_border_are_no_outline() -> None:
    labels = np.zeros((100, 100), np.uint8)
    labels[:, :10] = 1  # one side alone is seen: twice as wide
    assert region_widths(labels, NAMES)["a"] == pytest.approx(20, rel=0.07)
    labels[:, 10] = IGNORE
    assert region_widths(labels, NAMES) == {}
    assert region_widths(np.ones((20, 20), np.uint8), NAMES) == {}
    assert region_widths(np.full((20, 20), IGNORE, np.uint8), NAMES) == {}


def coco(folder: Path, images: list[list[tuple[float, float, float, int]]]) -> Path:
    """A prepared split in which each image holds objects (area, width, height, iscrowd)."""
    annotations = [
        {"image_id": number, "area": area, "bbox": [0, 0, width, height], "iscrowd": crowd}
        for number, found in enumerate(images)
        for area, width, height, crowd in found
    ]
    content = {"images": [{"id": n, "file_name": f"{n}.png"} for n in range(len(images))], "annotations": annotations}
    (folder / "train").mkdir()
    (folder / "train" / "instances.json").write_text(json.dumps(content))
    return folder


def test_objects_by_hand(tmp_path: Path) -> None:
    """Sides 10, 20, 30, 40, 50; boxes twice as high as wide but for one. A crowd and an empty mask do not count."""
    first = [(side**2, 10, 20, 0) for side in (10, 20, 30, 40)]
    found = objects_of(coco(tmp_path, [[*first, (10_000, 100, 100, 1), (0, 5, 5, 0)], [(2500, 30, 15, 0)], []]), {"touching": 0.5})
    assert (found.count, found.most, found.median, found.touching, found.broken) == (5, 4, 1.0, 0.5, 0.0)
    assert found.side == {"p5": 12, "p10": 14, "p25": 20, "p50": 30, "p75": 40, "p90": 46, "p95": 48, "p99": 49.6}
    assert found.ratio["p5"] == pytest.approx(0.5 + 0.2 * 1.5)
    assert (found.ratio["p25"], found.ratio["p95"]) == (2.0, 2.0)


def test_a_split_without_objects(tmp_path: Path) -> None:
    found = objects_of(coco(tmp_path, [[], [(100, 10, 10, 1)]]), {})
    assert (found.count, found.most, found.median, found.side["p50"]) == (0, 0, 0.0, 0.0)


def test_contacts_of_objects_by_hand() -> None:
    """1 and 2 touch by a corner, 4 lies over 3 and parts it, 5 is alone, 6 lies in a crowd, 7, and 8 has no pixel."""
    layers = np.zeros((12, 20, 2), np.int32)
    layers[0:3, 0:3, 0], layers[3:5, 3:5, 0] = 1, 2
    layers[7, 0:9, 0], layers[6:9, 4:6, 1] = 3, 4
    layers[0:2, 15:17, 0] = 5
    layers[8:12, 14:18, 0], layers[9, 15, 1] = 7, 6
    crowd = np.arange(1, 9) == 7
    sample = Sample("a", np.zeros((12, 20, 3), np.uint8), np.zeros((12, 20), np.uint8), layers, np.ones(8, np.int32), crowd)
    assert contacts_of(sample) == (7, 4, 3, 1)  # beside: 1 to 4, as 7 hides 6; sharing pixels: 3, 4, 6; in parts: 3
    assert contacts_of(Sample("b", sample.image, sample.semantic, layers[..., :0], np.ones(0, np.int32), np.zeros(0, bool))) == (0, 0, 0, 0)


def test_a_look_at_the_prepared_images(prepared: Path) -> None:
    info = read_info(prepared)
    seen = look(prepared, info, True)
    assert seen.colour
    assert len(seen.samples) == 8  # of the training split's
    assert len({s.image_id for s in seen.samples}) == 8
    assert BACKGROUND not in seen.widths
    assert set(seen.widths) <= {c.name for c in info.classes}
    assert all(0 < width < 48 for width in seen.widths.values())
    assert set(seen.directions) == {"left_right", "up_down", "turned"}
    assert any(len(s.categories) for s in seen.samples)
    assert not any(len(s.categories) for s in look(prepared, info, False).samples)


def test_all_facts_together(prepared: Path) -> None:
    info = read_info(prepared)
    seen = look(prepared, info, True)
    found = gather_facts(prepared, info, seen, "instance", True, {"device": "cpu", "cores": 3, "memory": 1000})
    entries = read_entries(prepared / "train")
    assert (found.images, found.height, found.median_pixels) == (len(entries), {"min": 48, "median": 48, "max": 48}, 48 * 48)
    assert found.validation_images == len(read_entries(prepared / "val"))
    assert sum(found.shares) == pytest.approx(1, abs=1e-4)
    assert found.objects is not None
    assert found.objects.count == sum(e.num_instances for e in entries)
    assert (found.device, found.cores, found.memory, found.drawn) == ("cpu", 3, 1000, True)
    assert gather_facts(prepared, info, seen, "semantic", False, {"device": "cpu", "cores": 3, "memory": 1000}).objects is None


def test_a_gray_image_in_three_channels_is_gray(prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path / "gray")
    for path in (tmp_path / "gray/train/images").iterdir():
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(path.with_suffix(".png")), cv2.merge([image] * 3))
    seen = look(tmp_path / "gray", read_info(prepared), False)
    assert not seen.colour


def test_large_images_are_looked_at_less(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info, read = read_info(prepared), []
    true = facts.read_sample
    monkeypatch.setattr(facts, "read_sample", lambda folder, entry, *rest: read.append(entry.file) or true(folder, entry, *rest))
    monkeypatch.setattr(facts, "PIXELS", 3 * 48 * 48)
    look(prepared, info, False)
    files = [e.file for e in read_entries(prepared / "train")]
    assert len(read) == 3
    assert (read[0], read[-1]) == (files[0], files[-1])
    monkeypatch.setattr(facts, "PIXELS", 1)
    read.clear()
    assert not look(prepared, info, False).directions["up_down"].known
    assert len(read) == 1
