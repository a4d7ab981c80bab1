"""Predictions as files: what is written is read, byte for byte, and what is missing or of something else is named."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from random_instances import batch_of, box, random_scenes, rle_of

from seg.core.errors import DataError
from seg.data.labelmaps import boxed
from seg.data.sample import Prediction
from seg.data.store import ManifestEntry
from seg.evaluation.predictions import BOXES, MASKS, read_predictions, write_predictions

SIZE = (7, 9)


def entry(image_id: str, height: int = SIZE[0], width: int = SIZE[1]) -> ManifestEntry:
    return ManifestEntry(image_id, f"{image_id}.jpg", height, width, 0, "0" * 64, "0" * 16)


def class_map(seed: int, height: int = SIZE[0], width: int = SIZE[1]) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width), dtype=np.uint8)


def assert_same(found: Prediction, expected: Prediction) -> None:
    """The same bytes, types and shapes; confidence is not stored."""
    for name in ("semantic", "scores", "categories", "boxes"):
        a, b = getattr(found, name), getattr(expected, name)
        assert (a is None) == (b is None)
        if a is not None:
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), name
    assert found.masks == expected.masks
    assert found.confidence is None


def test_class_maps_of_any_size_and_in_folders_are_read_as_they_were(tmp_path: Path) -> None:
    sizes = {"a": (7, 9), "b/c.d/e": (1, 1), "b/c.d": (30, 2), "b": (2, 30), "ü ß": (7, 9)}
    entries = [entry(name, *size) for name, size in sizes.items()]
    maps = [class_map(seed, e.height, e.width) for seed, e in enumerate(entries)]
    with write_predictions(tmp_path / "made/predictions", entries, "classes") as into:
        for e, semantic in reversed(list(zip(entries, maps, strict=True))):
            into.add(e, Prediction(semantic, semantic.astype(np.uint16)))
    assert sorted(p.relative_to(tmp_path / "made/predictions").as_posix() for p in tmp_path.rglob("*.png")) == sorted(
        f"{name}.png" for name in sizes
    )
    found = read_predictions(tmp_path / "made/predictions", entries, "classes")
    for e, semantic in zip(entries, maps, strict=True):
        assert_same(found.read(e), Prediction(semantic))


def test_class_maps_lose_the_padding_of_their_batch_and_are_gray_pngs(tmp_path: Path) -> None:
    whole = class_map(0, 16, 32)
    with write_predictions(tmp_path / "p", [entry("a")], "classes") as into:
        into.add(entry("a"), Prediction(whole))
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "p/a.png"), cv2.IMREAD_UNCHANGED), whole[: SIZE[0], : SIZE[1]])
    assert_same(read_predictions(tmp_path / "p", [entry("a")], "classes").read(entry("a")), Prediction(whole[: SIZE[0], : SIZE[1]].copy()))


def test_instances_are_read_as_they_were_and_in_their_order(tmp_path: Path) -> None:
    """Scores that tie, boxes beside the masks, images without instances; written in another order than the manifest's."""
    scenes = random_scenes(0, number=30)
    predictions = {s.image_id: s.prediction for s in scenes}
    rng = np.random.default_rng(0)
    for prediction in predictions.values():
        prediction.scores = np.where(rng.random(len(prediction.scores)) < 0.5, prediction.scores, rng.random(len(prediction.scores)))
        prediction.scores = prediction.scores.astype(np.float32)
    entries = [entry(s.image_id, *s.size) for s in scenes]
    with write_predictions(tmp_path / "p", entries, "masks") as into:
        for e in sorted(entries, key=lambda e: e.width):
            into.add(e, predictions[e.image_id])
    assert any(not len(p.scores) for p in predictions.values())
    assert sum(len(p.scores) for p in predictions.values()) > 50
    found = read_predictions(tmp_path / "p", entries, "masks")
    for e in entries:
        assert_same(found.read(e), predictions[e.image_id])


def test_instances_are_cocos_two_formats_of_results(tmp_path: Path) -> None:
    mask = rle_of(box(*SIZE, 1, 2, 5, 6))
    prediction = Prediction(None, None, np.float32([0.1]), np.int32([2]), np.float32([[1.5, 0.25, 6, 5]]), [mask])
    entries = [entry("image9"), entry("image10")]
    with write_predictions(tmp_path / "p", entries, "masks") as into:
        into.add(entries[0], prediction)
    row = {"image_id": 2, "category_id": 2, "score": float(np.float32(0.1))}
    assert json.loads((tmp_path / "p" / MASKS).read_text()) == [row | {"segmentation": mask}]
    assert json.loads((tmp_path / "p" / BOXES).read_text()) == [row | {"bbox": [1.5, 0.25, 4.5, 4.75]}]


def test_no_image_has_an_instance(tmp_path: Path) -> None:
    with write_predictions(tmp_path / "p", [entry("a"), entry("b")], "masks") as into:
        into.add(entry("a"), Prediction())
        into.add(entry("b"), Prediction())
    assert [json.loads((tmp_path / "p" / name).read_text()) for name in (MASKS, BOXES)] == [[], []]
    found = read_predictions(tmp_path / "p", [entry("a"), entry("b")], "masks")
    assert_same(found.read(entry("a")), Prediction())
    assert_same(found.read(entry("b")), Prediction())


@pytest.mark.parametrize("with_instances", [False, True])
def test_the_same_predictions_have_the_same_bytes_and_former_ones_are_removed(tmp_path: Path, with_instances: bool) -> None:
    scenes = random_scenes(1, number=4)
    entries = [entry(s.image_id, *s.size) for s in scenes]
    predictions = batch_of(scenes)[1] if with_instances else [Prediction(class_map(n, *s.size)) for n, s in enumerate(scenes)]

    def files() -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in (tmp_path / "p").rglob("*")}

    seen = []
    for _ in range(2):
        with write_predictions(tmp_path / "p", entries, with_instances) as into:
            for e, prediction in zip(entries, predictions, strict=True):
                into.add(e, prediction)
        seen.append(files())
        (tmp_path / "p/former.png").write_bytes(b"of before")
    assert seen[0] == seen[1]


def test_a_class_map_must_be_there_to_be_written(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"^a: the prediction has no class map"),
        write_predictions(tmp_path / "p", [entry("a")], "classes") as into,
    ):
        into.add(entry("a"), Prediction())


def refusal(path: Path, read: Callable[[], object]) -> str:
    """What is said of `path`."""
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}.*; evaluate again$") as error:
        read()
    return str(error.value).removeprefix(str(path)).removesuffix("; evaluate again")


@pytest.mark.parametrize("with_instances", [False, True])
def test_a_missing_folder_is_named(tmp_path: Path, with_instances: bool) -> None:
    assert refusal(tmp_path / "p", lambda: read_predictions(tmp_path / "p", [], with_instances)) == ": there are no predictions"


def test_class_maps_that_are_missing_or_of_another_size_are_named(tmp_path: Path) -> None:
    with write_predictions(tmp_path / "p", [entry("a")], "classes") as into:
        into.add(entry("a"), Prediction(class_map(0)))
    found = read_predictions(tmp_path / "p", [entry("a")], "classes")
    said = refusal(tmp_path / "p/b/c.png", lambda: found.read(entry("b/c")))
    assert said == ": cannot be read (No such file or directory)"
    said = refusal(tmp_path / "p/a.png", lambda: found.read(entry("a", SIZE[1], SIZE[0])))
    assert said == ": is 9x7 uint8, expected 7x9 uint8 like the image"
    cv2.imwrite(str(tmp_path / "p/a.png"), class_map(0).astype(np.uint16))
    assert refusal(tmp_path / "p/a.png", lambda: found.read(entry("a"))) == ": is 9x7 uint16, expected 9x7 uint8 like the image"
    cv2.imwrite(str(tmp_path / "p/a.png"), np.arange(189, dtype=np.uint8).reshape(*SIZE, 3))
    assert "is a colour or palette image" in refusal(tmp_path / "p/a.png", lambda: found.read(entry("a")))
    for damaged in (b"", b"hello", b"\x89PNG\r\n\x1a\n"):
        (tmp_path / "p/a.png").write_bytes(damaged)
        with pytest.raises(DataError, match=re.escape(str(tmp_path / "p/a.png"))):
            found.read(entry("a"))


def test_instances_that_are_missing_or_of_something_else_are_named(tmp_path: Path) -> None:
    entries, folder = [entry("a"), entry("b")], tmp_path / "p"
    prediction = Prediction(None, None, np.float32([0.5]), np.int32([1]), np.float32([[0, 0, 2, 2]]), [rle_of(box(*SIZE, 0, 0, 2, 2))])

    def write() -> None:
        with write_predictions(folder, entries, "masks") as into:
            into.add(entries[0], prediction)
            into.add(entries[1], prediction)

    def said(name: str, content: str | None) -> str:
        write()
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_text(content)
        return refusal(folder / name, lambda: read_predictions(folder, entries, "masks"))

    write()
    wide = [entry("a"), entry("b", 7, 10)]
    assert_same(read_predictions(folder, wide, "masks").read(wide[0]), prediction)
    expected = ": has a mask of 9x7 in b, expected 10x7 like the image"
    assert refusal(folder / MASKS, lambda: read_predictions(folder, wide, "masks").read(wide[1])) == expected
    assert (
        refusal(folder / MASKS, lambda: read_predictions(folder, entries[:1], "masks"))
        == ": has predictions of image 2, but the split has 1"
    )
    masks, boxes = ((folder / name).read_text() for name in (MASKS, BOXES))
    for name, whole in ((MASKS, masks), (BOXES, boxes)):
        assert said(name, None) == ": cannot be read (No such file or directory)"
        assert "Invalid JSON" in said(name, "")
        assert "Invalid JSON" in said(name, whole[:-3]), "a run that was ended"
        assert said(name, "{}") == ": Input should be a valid array"
        assert said(name, whole.replace("score", "points", 1)) == "[0].score: Field required"
    assert said(MASKS, masks.replace('"counts": "', '"counts": ["', 1).replace('"}', '"]}', 1)).startswith("[0].segmentation.counts: ")
    assert said(BOXES, boxes.replace("[0.0, ", "[", 1)).startswith("[0].bbox")
    assert said(BOXES, boxes.replace("0.5", "0.25", 1)) == f": has other predictions than {MASKS} beside it"
    assert said(BOXES, "[]") == f": has other predictions than {MASKS} beside it"


def test_an_evaluation_that_is_cut_short_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    def cut_short() -> None:
        with write_predictions(tmp_path / "p", [entry("a")], "masks") as into:
            into.add(entry("a"), Prediction())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_short()
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "p" / MASKS))):
        read_predictions(tmp_path / "p", [entry("a")], "masks")


def test_boxes_alone_are_read_with_their_pixels(tmp_path: Path) -> None:
    said = boxed(next(scene for scene in random_scenes(1) if scene.scores).prediction)
    height, width = said.masks[0]["size"]
    entries = [entry("a", height, width), entry("b", height, width)]
    with write_predictions(tmp_path / "p", entries, "boxes") as into:
        into.add(entries[0], said)
    found = read_predictions(tmp_path / "p", entries, "boxes")
    assert_same(found.read(entries[0]), said)
    assert (found.read(entries[0]).boxed, found.read(entries[1]).boxed, len(found.read(entries[1]).scores)) == (True, True, 0)
