"""Folders of images and masks: every layout that is promised, read back value by value."""

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from tiny import CLASSES, SIZE, colored, folders, labels, picture, prepare_tiny, read_all, split, tree, write, write_folders

from seg.core.errors import ConfigError, DataError
from seg.data.sample import ClassInfo
from seg.sources.folders import Folders

IGNORED_COLOR = (1, 1, 1)
NAMES = ["a", "b", "c", "d"]


def write_images(root: Path, names: list[str] = NAMES) -> None:
    for seed, name in enumerate(names):
        write(root / "images" / f"{name}.png", picture(seed))


def test_index_masks(tmp_path: Path) -> None:
    samples = read_all(folders(write_folders(tmp_path, NAMES, suffix=".png")))
    assert list(samples) == NAMES
    for seed, sample in enumerate(samples.values()):
        assert np.array_equal(sample.image, picture(seed))
        assert np.array_equal(sample.semantic, labels(seed)), "255 is ignored and stays 255"
        assert sample.instances.shape == (*SIZE, 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_value_can_be_ignored(tmp_path: Path, dtype: type) -> None:
    values = np.array([[0, 1, 2], [3, 11, 12]], dtype)
    write(tmp_path / "images" / "a.png", picture(0, (2, 3)))
    write(tmp_path / "masks" / "a.png", values)
    assert read_all(folders(tmp_path, ignore=[11, 12]))["a"].semantic.tolist() == [[0, 1, 2], [3, 255, 255]]
    with pytest.raises(ConfigError, match=r"^data.source.ignore: the label 2 stands twice; a label belongs to one class, or to"):
        folders(tmp_path, ignore=[2, 11, 12])


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_colour_masks(tmp_path: Path, suffix: str) -> None:
    write_images(tmp_path)
    for seed, name in enumerate(NAMES):
        write(tmp_path / "masks" / f"{name}{suffix}", colored(labels(seed), IGNORED_COLOR))
    samples = read_all(folders(tmp_path, labels="color", ignore=[list(IGNORED_COLOR)]))
    for seed, sample in enumerate(samples.values()):
        assert np.array_equal(sample.semantic, labels(seed))


def test_palette_masks_are_read_by_their_colours_whatever_their_indices(tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "masks").mkdir()
    colors = [*(c.color for c in CLASSES), IGNORED_COLOR]
    for seed, name in enumerate(NAMES):
        order = np.random.default_rng(seed).permutation(len(colors))  # a palette of its own
        place = np.argsort(order)
        classes = np.where(labels(seed) == 255, len(CLASSES), labels(seed))
        mask = Image.fromarray(place[classes].astype(np.uint8), mode="P")
        mask.putpalette(np.array(colors, np.uint8)[order].ravel().tolist())
        mask.save(tmp_path / "masks" / f"{name}.png")
    samples = read_all(folders(tmp_path, labels="color", ignore=[list(IGNORED_COLOR)]))
    for seed, sample in enumerate(samples.values()):
        assert np.array_equal(sample.semantic, labels(seed))


def test_black_and_white_masks_by_colour(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random(SIZE) < 0.3
    write(tmp_path / "images" / "a.png", picture(0))
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    classes = [ClassInfo("background", (0, 0, 0)), ClassInfo("foreground", (255, 255, 255))]
    sample = read_all(folders(tmp_path, classes=classes, labels="color", ignore=[]))["a"]
    assert np.array_equal(sample.semantic, mask)


def test_nested_folders(tmp_path: Path) -> None:
    root = write_folders(tmp_path / "raw", ["day/x", "day/y", "night/deep/x", "z"], suffix=".png")
    items = folders(root).items()
    assert [item.image_id for item in items] == ["day/x", "day/y", "night/deep/x", "z"]
    assert [np.array_equal(folders(root).read(item).sample.semantic, labels(seed)) for seed, item in enumerate(items)] == [True] * 4
    prepare_tiny(folders(root), tmp_path / "out")
    written = {name.split("/", 2)[2] for name in tree(tmp_path / "out") if "/images/" in name}
    assert written == {"day/x.png", "day/y.png", "night/deep/x.png", "z.png"}


@pytest.mark.parametrize(("images", "masks"), [("{split}/img", "{split}/lab"), ("{split}", "{split}annot")])
def test_folders_that_name_the_split(tmp_path: Path, images: str, masks: str) -> None:
    for number, name in enumerate(("train", "val", "test")):
        for seed in range(number + 1):
            write(tmp_path / images.replace("{split}", name) / f"same{seed}.png", picture(10 * number + seed))
            write(tmp_path / masks.replace("{split}", name) / f"same{seed}.png", labels(10 * number + seed))
    source = folders(tmp_path, split("folders"), images=images, masks=masks)
    items = source.items()
    assert [(item.split, item.image_id) for item in items] == [
        ("train", "same0"),
        ("val", "same0"),
        ("val", "same1"),
        ("test", "same0"),
        ("test", "same1"),
        ("test", "same2"),
    ]
    for item, seed in zip(items, (0, 10, 11, 20, 21, 22), strict=True):
        assert np.array_equal(source.read(item).sample.semantic, labels(seed))


def test_images_without_a_mask_are_left_out_only_when_asked(tmp_path: Path) -> None:
    write_folders(tmp_path, NAMES)
    (tmp_path / "masks" / "b.png").unlink()
    assert [item.image_id for item in folders(tmp_path, skip_unlabelled=True).items()] == ["a", "c", "d"]
    source = folders(tmp_path)
    assert [item.image_id for item in source.items()] == ["a", "c", "d"]
    (finding,) = source.findings
    assert (finding.kind, finding.severity, finding.image_id) == ("image-without-label", "error", "b")
    assert re.search(r"images/b.jpg: has no mask .*masks/b\.\*; add it, .*data.source.skip_unlabelled=true", str(finding))


def test_original_bytes_are_kept(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    for seed, name in enumerate(("a.jpg", "b.JPEG", "c.png", "d.bmp", "e.webp", "f.tif")):
        write(root / "images" / name, picture(seed))
        write(root / "masks" / f"{name[0]}.png", labels(seed))
    prepare_tiny(folders(root), tmp_path / "out")
    kept = {name.rpartition("/")[2]: data for name, data in tree(tmp_path / "out").items() if "/images/" in name}
    assert kept == {p.with_suffix(p.suffix.lower()).name: p.read_bytes() for p in (root / "images").iterdir()}


def test_an_images_orientation_is_applied_to_pair_it_with_its_mask(tmp_path: Path) -> None:
    upright, exif = picture(0, (40, 24)), Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise for display
    (tmp_path / "images").mkdir()
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
    turned.save(tmp_path / "images" / "a.jpg", exif=exif, quality=95, subsampling=0)
    write(tmp_path / "masks" / "a.png", labels(0, (40, 24)))
    sample = read_all(folders(tmp_path))["a"]
    assert np.array_equal(sample.semantic, labels(0, (40, 24)))
    assert np.abs(sample.image.astype(int) - upright).mean() < 4


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": "colour"}, "data.source.labels=colour: did you mean 'color'?"),
        ({"others": "drop"}, "data.source.others=drop: expected: ignore, refuse"),
        ({"ignore": [[0, 0, 0]]}, r"data.source.ignore: the label \[0, 0, 0\]: expected a value, such as 7"),
        ({"labels": "palette", "ignore": [[0, 0, 0]]}, r"data.source.ignore: the label \[0, 0, 0\]: expected a value, such as 7"),
        ({"labels": "color"}, r"data.source.ignore: the label 255: expected a colour, such as \[128, 0, 0\]"),
        ({"labels": "color", "ignore": [[200, 0, 0]]}, r"data.source.ignore: the label \[200, 0, 0\] stands twice"),
        ({"labels": "color", "ignore": [], "classes": [*CLASSES, CLASSES[0]]}, r"data.classes.*: the label \[10, 20, 30\] stands twice"),
        ({"section": split("folders")}, "data.split.by=folders: data.source.images and .masks must hold {split}"),
    ],
)
def test_bad_arguments_are_refused(tmp_path: Path, changed: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        folders(tmp_path, **changed)


@pytest.mark.parametrize("labels", ["index", "color"])
def test_what_is_not_listed_is_ignored_when_asked(tmp_path: Path, labels: str) -> None:
    write(tmp_path / "images" / "a.png", picture(0, (1, 4)))
    values = np.array([[0, 1, 77, 3]], np.uint8)
    write(tmp_path / "masks" / "a.png", values if labels == "index" else colored(values))
    source = folders(tmp_path, labels=labels, ignore=[], others="ignore")
    assert read_all(source)["a"].semantic.tolist() == [[0, 1, 255, 3]]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_palette_masks_by_their_indices_whatever_their_colours(tmp_path: Path, bits: int) -> None:
    (tmp_path / "masks").mkdir()
    write_images(tmp_path)
    for seed, name in enumerate(NAMES):
        mask = Image.fromarray(labels(seed) % 255, mode="P")
        mask.putpalette(np.random.default_rng(seed).integers(0, 256, 12).tolist())  # of its own; twice the same colour is no matter
        mask.save(tmp_path / "masks" / f"{name}.png", bits=bits)
    for seed, sample in enumerate(read_all(folders(tmp_path, labels="palette")).values()):
        assert np.array_equal(sample.semantic, labels(seed) % 255)


def test_a_palette_of_grays_is_not_taken_for_gray_values(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", picture(0, (1, 3)))
    (tmp_path / "masks").mkdir()
    mask = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    mask.putpalette([0, 0, 0, 2, 2, 2, 1, 1, 1])
    mask.save(tmp_path / "masks" / "a.png")
    with pytest.raises(DataError, match=r"masks/a.png: is a colour or palette image"):
        read_all(folders(tmp_path))
    assert read_all(folders(tmp_path, labels="palette"))["a"].semantic.tolist() == [[0, 1, 2]]


def test_all_that_is_unknown_is_said_at_once(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", picture(0, (1, 8)))
    values = np.array([[0, 9, 9, 12, 12, 12, 1, 200]], np.uint8)
    fix = "add each to a class in data.classes (labels: [...]), to data.source.ignore, or set data.source.others=ignore"
    write(tmp_path / "masks" / "a.png", values)
    with pytest.raises(DataError) as error:
        read_all(folders(tmp_path))
    expected = "has 3 values that no class has: 12 in 3 pixels, 9 in 2 pixels, 200 in 1 pixels (the classes have 0, 1, 2, 3)"
    assert str(error.value) == f"{tmp_path}/masks/a.png: {expected}; {fix}"
    colors = colored(np.array([[0] * 8], np.uint8))
    colors[0, 1:4], colors[0, 5] = (190, 9, 9), (3, 146, 9)
    write(tmp_path / "masks" / "a.png", colors)
    with pytest.raises(DataError) as error:
        read_all(folders(tmp_path, labels="color", ignore=[]))
    expected = "[190, 9, 9] in 3 pixels (nearest: house [200, 0, 0]), [3, 146, 9] in 1 pixels (nearest: tree [0, 150, 0])"
    assert str(error.value) == f"{tmp_path}/masks/a.png: has 2 colours that no class has: {expected}; {fix}"


def black_and_white(seed: int) -> np.ndarray:
    """A mask (H, W) uint8 of 0 and 255."""
    return np.where(np.isin(labels(seed), (1, 2)), 255, 0).astype(np.uint8)


BINARY = [ClassInfo("background", (0, 0, 0), (0,)), ClassInfo("thing", (255, 255, 255), (255,))]


def binary(root: Path, **changed: object) -> Folders:
    return folders(root, **{"classes": BINARY, "ignore": [], "threshold": 128, **changed})


SOFT = {
    "one bit": (lambda mask: Image.fromarray(mask).convert("1"), ".png", None),
    "gray": (Image.fromarray, ".png", None),
    "colour": (lambda mask: Image.fromarray(np.dstack([mask] * 3)), ".png", None),
    "opaque": (lambda mask: Image.fromarray(np.dstack([mask] * 3 + [np.full_like(mask, 255)])), ".png", None),
    "palette": (lambda mask: Image.fromarray(mask).convert("P"), ".png", None),
    "gif": (Image.fromarray, ".gif", None),
    "deep": (lambda mask: Image.fromarray(mask.astype(np.uint16) * 257), ".png", None),
    "soft edges": (
        lambda mask: Image.fromarray(np.clip(mask.astype(int) + np.arange(32) % 3 * 20 - 20, 3, 250).astype(np.uint8)),
        ".png",
        "soft-mask",
    ),
    "jpeg": (Image.fromarray, ".jpg", "lossy-mask"),
}


@pytest.mark.parametrize("kind", SOFT)
def test_black_and_white_masks_of_any_kind_by_a_threshold(tmp_path: Path, kind: str) -> None:
    made, suffix, finding = SOFT[kind]
    blocks = np.kron(black_and_white(3)[::8, ::8], np.ones((8, 8), np.uint8))
    write(tmp_path / "images" / "a.png", picture(0))
    (tmp_path / "masks").mkdir()
    made(blocks).save(tmp_path / "masks" / f"a{suffix}")
    source = binary(tmp_path)
    record = source.read(source.items()[0])
    assert np.array_equal(record.sample.semantic, blocks // 255)
    assert [f.kind for f in record.findings] == ([finding] if finding else [])
    assert not finding or "from 128 on is white" in record.findings[0].what


def test_the_white_of_one_bit_is_255(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", picture(0))
    (tmp_path / "masks").mkdir()
    Image.fromarray(black_and_white(1)).convert("1").save(tmp_path / "masks" / "a.png")
    source = binary(tmp_path, threshold=None)
    assert np.array_equal(source.read(source.items()[0]).sample.semantic, black_and_white(1) // 255)


def test_transparent_pixels_of_a_mask_are_what_the_settings_say(tmp_path: Path) -> None:
    """A mask of one colour, which alpha draws; and one whose transparent pixels have the colour of a class."""
    write(tmp_path / "images" / "a.png", picture(0))
    alpha = black_and_white(1)
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.dstack([np.full((*alpha.shape, 3), 200, np.uint8), alpha])).save(tmp_path / "masks" / "a.png")
    classes = [ClassInfo("background", (0, 0, 0)), ClassInfo("thing", (200, 200, 200))]
    source = folders(tmp_path, classes=classes, labels="color", ignore=[])
    with pytest.raises(DataError, match=r"a.png: .* of its pixels are transparent, .*data.source.transparent=\[0,0,0\]"):
        source.read(source.items()[0])
    for color, expected in (([0, 0, 0], 0), ([1, 2, 3], 255)):
        source = folders(tmp_path, classes=classes, labels="color", ignore=[[1, 2, 3]], transparent=color)
        record = source.read(source.items()[0])
        assert np.array_equal(record.sample.semantic, np.where(alpha, 1, expected))
        assert [f.kind for f in record.findings] == ["transparent-mask"]


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_indices_that_share_a_colour_are_told(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / "images" / "a.png", picture(0))
    image = Image.fromarray(np.where(labels(2) == 255, 0, labels(2)), mode="P")
    image.putpalette([0, 0, 0, 9, 9, 9, 9, 9, 9, 0, 0, 0])
    (tmp_path / "masks").mkdir()
    image.save(tmp_path / "masks" / f"a{suffix}", optimize=False)
    source = folders(tmp_path, labels="color", classes=[ClassInfo("a", (0, 0, 0)), ClassInfo("b", (9, 9, 9))], ignore=[])
    found = source.read(source.items()[0]).findings
    assert [f.kind for f in found] == ["merged-indices"] * len(found)
    assert found
    assert "set data.source.labels=palette" in found[0].fix


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, bool])
def test_whole_numbers_of_any_type_and_arrays(tmp_path: Path, dtype: type) -> None:
    classes = labels(1) % 2 if dtype is bool else np.where(labels(1) == 255, 0, labels(1))
    for name in ("a", "b"):
        write(tmp_path / "images" / f"{name}.png", picture(0))
    (tmp_path / "masks").mkdir()
    np.save(tmp_path / "masks" / "a.npy", classes.astype(dtype))
    tifffile.imwrite(tmp_path / "masks" / "b.tif", classes.astype(np.uint8 if dtype is bool else dtype))
    source = folders(tmp_path, ignore=[])
    assert [np.array_equal(s.semantic, classes) for s in read_all(source).values()] == [True, True]


@pytest.mark.parametrize(("dtype", "nodata"), [(np.float32, "-9999"), (np.float32, "nan"), (np.uint8, "77"), (np.int16, "-1")])
def test_nodata_of_gdal_is_ignored_and_told(tmp_path: Path, dtype: type, nodata: str) -> None:
    write(tmp_path / "images" / "a.png", picture(0))
    (tmp_path / "masks").mkdir()
    classes = np.where(labels(1) == 255, 0, labels(1)).astype(dtype)
    classes[:, :5] = float(nodata)
    tifffile.imwrite(tmp_path / "masks" / "a.tif", classes, extratags=[(42113, 2, 0, nodata, False)])
    source = folders(tmp_path, ignore=[])
    record = source.read(source.items()[0])
    assert (record.sample.semantic[:, :5] == 255).all()
    assert np.array_equal(record.sample.semantic[:, 5:], classes[:, 5:])
    assert [(f.kind, f.what.endswith("they are ignored")) for f in record.findings] == [("no-data", True)]


def test_nodata_that_is_a_label_is_the_label(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", picture(0))
    (tmp_path / "masks").mkdir()
    classes = np.where(labels(1) == 255, 0, labels(1))
    tifffile.imwrite(tmp_path / "masks" / "a.tif", classes, extratags=[(42113, 2, 0, "0", False)])
    source = folders(tmp_path, ignore=[])
    record = source.read(source.items()[0])
    assert np.array_equal(record.sample.semantic, classes)
    assert [f.what.rpartition("; ")[2] for f in record.findings] == ["they are read as the label"]


def halves(root: Path, second: int = 255) -> Path:
    """Three images in a folder with their masks, a block each; the second has another block in a mask of its own."""
    for seed, name in enumerate(("a (1)", "a (2)", "b")):
        write(root / f"{name}.png", picture(seed))
        mask = np.zeros((24, 32), np.uint8)
        mask[2:6, 3:9] = 255
        write(root / f"{name}_mask.png", mask)
    write(root / "a (2)_mask_1.png", np.where(np.arange(32)[None] > 27, second, 0).repeat(24, 0).astype(np.uint8))
    return root


def test_further_masks_of_an_image_are_united_or_told(tmp_path: Path) -> None:
    together = {"images": ".", "masks": ".", "mask_suffix": "_mask", "threshold": None}
    source = binary(halves(tmp_path), **together)
    assert [i.image_id for i in source.items()] == ["a (1)", "a (2)", "b"], "no mask is taken for an image"
    assert [int(s.semantic.sum()) for s in read_all(source).values()] == [24, 24, 24]
    assert [(f.kind, "are not read, such as a (2)_mask_1.png" in f.what) for f in source.findings][:1] == [("further-mask", True)]
    source = binary(tmp_path, **together, join=True)
    assert [int(s.semantic.sum()) for s in read_all(source).values()] == [24, 24 + 4 * 24, 24]
    assert [(f.kind, "are united" in f.what) for f in source.findings][:1] == [("further-mask", True)]


def test_further_masks_that_contradict_are_refused(tmp_path: Path) -> None:
    classes = [*BINARY, ClassInfo("other", (1, 1, 1), (7,))]
    source = folders(halves(tmp_path, 7), classes=classes, images=".", masks=".", mask_suffix="_mask", ignore=[], join=True)
    assert np.unique(source.read(source.items()[1]).sample.semantic).tolist() == [0, 1, 2]
    write(tmp_path / "a (2)_mask_1.png", np.full((24, 32), 7, np.uint8))
    with pytest.raises(DataError, match=r"a \(2\)_mask_1.png: gives 24 pixels another class"):
        source.read(source.items()[1])


def test_an_image_is_not_its_own_mask(tmp_path: Path) -> None:
    write(tmp_path / "a.png", picture(0))
    with pytest.raises(DataError, match="is taken for an image and for its own mask"):
        folders(tmp_path, images=".", masks=".").items()


def test_a_proposal_is_tried_first(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        write(tmp_path / "images" / f"{name}.png", picture(seed))
        write(tmp_path / "masks" / f"{name}_color.png", picture(seed))
    with pytest.raises(DataError, match=r"set data.source.masks \(masks end with '_color' there, but is a colour or palette image"):
        folders(tmp_path).items()
