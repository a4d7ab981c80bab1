"""Statistics of a split against numpy on the raw arrays."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tiny import CLASSES, Blobs, folders, labels, masks_of, picture, prepare_tiny, read_back, split, write

from seg.data.sample import ClassInfo, Sample, no_instances
from seg.data.store import DatasetInfo, read_entries
from seg.prepare.assignment import Assignment
from seg.prepare.run import prepare
from seg.raw.record import Item, Record
from seg.sources.images import ImageReader
from seg.storing.statistics import Gathered, count, mean_and_std, percentile, summarise

WITH_BACKGROUND = [ClassInfo("background", (0, 0, 0)), *CLASSES[1:]]


class Sizes(Blobs):
    """Blobs of several sizes."""

    def read(self, item: Item) -> Record:
        sample = super().read(item).sample
        height, width = 24 - int(item.files[0]) % 3, 32 - int(item.files[0])
        cut = {name: np.ascontiguousarray(getattr(sample, name)[:height, :width]) for name in ("image", "semantic", "instances")}
        return Record(replace(sample, **cut))


@pytest.fixture(scope="module", params=[CLASSES, WITH_BACKGROUND], ids=["no background", "background"])
def prepared(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[DatasetInfo, list[Sample]]:
    out = tmp_path_factory.mktemp("statistics") / "prepared"
    info = prepare(Sizes(), "tiny", request.param, Assignment(split(), None), None, out, 0, "none")[0]
    train = {e.image_id for e in read_entries(out / "train")}
    return info, [s for name, s in read_back(out).items() if name in train]


def test_intensities_of_the_foreground(prepared: tuple[DatasetInfo, list[Sample]]) -> None:
    info, samples = prepared
    left_out = {0, 255} if info.classes[0].name == "background" else {255}
    pixels = np.concatenate([s.image[~np.isin(s.semantic, list(left_out))] for s in samples]).astype(np.float64)
    found = info.statistics["foreground"]
    assert found["pixels"] == len(pixels) > 0
    assert found["mean"] == pytest.approx(pixels.mean(axis=0), abs=1e-3)
    assert found["std"] == pytest.approx(pixels.std(axis=0), abs=1e-3)
    for name, q in (("p0.5", 0.5), ("p50", 50), ("p99.5", 99.5)):
        assert found[name] == pytest.approx(np.percentile(pixels, q, axis=0), abs=1e-3)


def test_sizes_and_classes(prepared: tuple[DatasetInfo, list[Sample]]) -> None:
    info, samples = prepared
    for axis, name in enumerate(("height", "width")):
        sides = [s.size[axis] for s in samples]
        assert info.statistics[name] == {"min": min(sides), "median": np.median(sides), "max": max(sides)}
    assert info.statistics["spacing"] is None
    pixels = np.array([sum((s.semantic == k).sum() for s in samples) for k in range(4)])
    assert info.statistics["class_shares"] == pytest.approx(pixels / pixels.sum(), abs=1e-6)
    assert info.statistics["class_images"] == [sum(bool((s.semantic == k).any()) for s in samples) for k in range(4)]


def test_instances(prepared: tuple[DatasetInfo, list[Sample]]) -> None:
    info, samples = prepared
    sizes: dict[str, list[tuple[int, int, int]]] = {}
    numbers = []
    for sample in samples:
        numbers.append(0)
        for mask, category, crowd in zip(masks_of(sample), sample.categories, sample.crowd, strict=True):
            if mask.any() and not crowd:
                rows, columns = np.nonzero(mask)
                sizes.setdefault(info.classes[category].name, []).append((int(mask.sum()), np.ptp(rows) + 1, np.ptp(columns) + 1))
                numbers[-1] += 1
    spread = {"min": min(numbers), "median": np.median(numbers), "max": max(numbers), "mean": pytest.approx(np.mean(numbers), abs=1e-4)}
    assert info.statistics["instances_per_image"] == spread
    assert list(info.statistics["instances"]) == [c.name for c in info.classes if c.name in sizes]
    for name, found in info.statistics["instances"].items():
        assert found["count"] == len(sizes[name]) > 0
        for column, key in enumerate(("area", "height", "width")):
            values = [row[column] for row in sizes[name]]
            wanted = {f"p{q}": np.percentile(values, q) for q in (5, 25, 50, 75, 95)} | {"min": min(values), "max": max(values)}
            assert found[key] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_counts_are_numpys(channels: int) -> None:
    rng = np.random.default_rng(channels)
    image, semantic = rng.integers(0, 256, (37, 41, channels)).astype(np.uint8), rng.choice([0, 1, 2, 255], (37, 41)).astype(np.uint8)
    for background in (None, 0, 2):
        counts = count(Sample("a", image, semantic, *no_instances(37, 41)), background)
        inside = image[(semantic != 255) & (semantic != (255 if background is None else background))]
        assert np.array_equal(counts.class_pixels, np.bincount(semantic.ravel(), minlength=256))
        for c in range(channels):
            assert np.array_equal(counts.histogram[c], np.bincount(image[..., c].ravel(), minlength=256))
            assert np.array_equal(counts.foreground[c], np.bincount(inside[:, c], minlength=256))


def test_arrays_that_are_views_are_counted() -> None:
    image, semantic = picture(0)[::-1, ::2], labels(0)[::-1, ::2]
    counts = count(Sample("a", image, semantic, *no_instances(*semantic.shape)), None)
    assert np.array_equal(counts.histogram[1], np.bincount(image[..., 1].ravel(), minlength=256))


@pytest.mark.parametrize("seed", range(20))
def test_percentiles_of_counts_are_numpys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, rng.integers(1, 60))
    counts = np.bincount(values, minlength=256)
    for q in (0, 0.5, 33.3, 50, 99.5, 100):
        assert percentile(counts, q) == pytest.approx(np.percentile(values, q))


def test_mean_and_std_by_hand() -> None:
    histogram = np.zeros((2, 256), np.int64)
    histogram[0, [0, 255]] = 1
    histogram[1, 7] = 10**9
    assert mean_and_std(histogram) == ([127.5, 7.0], [127.5, 0.0])


def test_a_split_without_foreground_has_null_for_its_intensities() -> None:
    gathered = Gathered()
    sample = Sample("a", picture(0), np.zeros((24, 32), np.uint8), *no_instances(24, 32))
    gathered.add(count(sample, 0), (24, 32), None, [])
    found = summarise(gathered, WITH_BACKGROUND)
    assert found["foreground"] == {"pixels": 0, "mean": None, "std": None, "p0.5": None, "p50": None, "p99.5": None}
    assert found["class_shares"] == [1, 0, 0, 0]
    assert found["instances_per_image"] == {"min": 0, "median": 0, "max": 0, "mean": 0}
    assert found["instances"] == {}


def test_the_size_of_a_pixel_comes_from_the_files_that_say_it(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "images").mkdir(parents=True)
    for seed, name in enumerate("abcdefgh"):
        options = {"resolution": (1e4 / (seed + 1), 1e4), "resolutionunit": "CENTIMETER"} if seed % 2 else {"resolutionunit": "NONE"}
        tifffile.imwrite(raw / "images" / f"{name}.tif", picture(seed)[..., 0], **options)
        write(raw / "masks" / f"{name}.png", labels(seed))
    info = prepare_tiny(folders(raw, reader=ImageReader(1)), tmp_path / "out")
    widths = [ord(e.image_id) - ord("a") + 1 for e in read_entries(tmp_path / "out" / "train") if e.image_id in "bdfh"]
    assert 0 < len(widths) < info.splits["train"]["num_images"]
    found = info.statistics["spacing"]
    assert (found["num_images"], found["height"]) == (len(widths), {"min": 1, "median": 1, "max": 1})
    assert found["width"] == pytest.approx({"min": min(widths), "median": np.median(widths), "max": max(widths)}, abs=1e-3)
