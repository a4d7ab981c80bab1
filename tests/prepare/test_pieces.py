"""Images that are cut: few ones into pieces that the splits share, large ones into tiles that training reads."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import CLASSES, Blobs, folders, prepare_tiny, split, write_folders

from seg.core.errors import DataError
from seg.data.sample import Sample
from seg.data.store import read_annotations, read_entries, read_sample
from seg.prepare import pieces
from seg.prepare.assignment import Assignment
from seg.prepare.pieces import FewImages, cut, tiled
from seg.raw.record import Source
from seg.sources.settings import Split
from seg.storing.write import write_record

SPLITS = ("train", "val", "test")
BOTH = Assignment(split(), None)


def prepared(root: Path, source: Source, section: Split | None = None) -> dict[str, dict[str, Sample]]:
    """{split: {image_id: sample}} of a source whose images are cut where they are few."""
    assignment = Assignment(section or split(), None)
    info = prepare_tiny(FewImages(source, assignment), root, assignment.split)
    found: dict[str, dict[str, Sample]] = {}
    for name in SPLITS:
        annotations = read_annotations(root / name)
        entries = read_entries(root / name)
        found[name] = {e.image_id: read_sample(root / name, e, info.channels, annotations.get(e.file, ())) for e in entries}
    return found


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 2, 3), (2, 1, 3)])
def test_one_or_two_images_fill_all_splits(count: int, rows: int, columns: int, tmp_path: Path) -> None:
    """Six pieces, which are the images again where they are put together."""
    raw = write_folders(tmp_path / "raw", [f"scene{n}" for n in range(count)])
    found = prepared(tmp_path / "out", folders(raw), split(ratios={"train": 0.7, "val": 0.15, "test": 0.15}))
    assert [len(found[name]) for name in SPLITS] == [4, 1, 1]
    samples = {name: sample for members in found.values() for name, sample in members.items()}
    source = folders(raw)
    for item in source.items():
        parts = [samples[f"{item.image_id}_part{n + 1}"] for n in range(rows * columns)]
        whole = source.read(item).sample
        for name in ("image", "semantic"):
            lines = [np.concatenate([getattr(p, name) for p in parts[r * columns : (r + 1) * columns]], axis=1) for r in range(rows)]
            assert np.array_equal(np.concatenate(lines), getattr(whole, name))


def test_what_is_said_of_cut_images(tmp_path: Path) -> None:
    source = FewImages(folders(write_folders(tmp_path / "raw", ["a", "b"])), BOTH)
    source.items()
    assert str(source.findings[-1]) == (
        "data.split: 2 images cannot fill 3 splits, so each is cut into 3 pieces, which are divided: figures tell of other places in the "
        "same images, not of new images; add images"
    )


@pytest.mark.parametrize("names", [["a", "b", "c"], ["a", "b"]])
def test_enough_images_and_divided_ones_stay_whole(names: list[str], tmp_path: Path) -> None:
    """Two images are whole where a person says which are kept together: then they cannot be divided."""
    source = folders(write_folders(tmp_path / "raw", names))
    section = split() if len(names) == 3 else split(group="[ab]")
    wrapped = FewImages(source, Assignment(section, None))
    assert [item.image_id for item in wrapped.items()] == names
    assert not wrapped.findings
    assert wrapped.read(wrapped.items()[0]).encoded is not None  # the file's own bytes
    if len(names) == 2:
        with pytest.raises(DataError, match="2 groups of images cannot fill 3 splits"):
            prepared(tmp_path / "out", source, section)


def test_objects_of_a_piece_are_numbered_anew() -> None:
    """Ids 1 and 3 lie in the right half, 2 in the left; 3 is cut, and a crowd stays one."""
    instances = np.zeros((4, 8, 2), np.int32)
    instances[0, 6:, 0], instances[1, :2, 0], instances[2, 2:7, 1] = 1, 2, 3
    sample = Sample(
        "a", np.arange(96, dtype=np.uint8).reshape(4, 8, 3), np.zeros((4, 8), np.uint8), instances, np.array([5, 6, 7]), np.array([0, 0, 1])
    )
    found = cut(sample, (slice(0, 4), slice(4, 8)), "b")
    assert np.array_equal(found.image, sample.image[:, 4:])
    assert found.categories.tolist() == [5, 7]
    assert found.crowd.tolist() == [0, 1]
    assert [np.argwhere(found.instances[..., layer] == number).tolist() for layer, number in ((0, 1), (1, 2))] == [
        [[0, 2], [0, 3]],
        [[2, 0], [2, 1], [2, 2]],
    ]
    assert found.instances.max() == 2
    assert cut(sample, (slice(3, 4), slice(0, 8)), "c").instances.shape == (1, 8, 0)


def test_large_images_are_tiles_in_training_and_whole_in_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With tiles of at most 16 pixels a side, and images of 24 x 32 that are large: 2 x 2 tiles."""
    monkeypatch.setattr(pieces, "TILE", 16)
    monkeypatch.setattr(pieces, "LARGE", 24 * 32 - 1)
    found = prepared(tmp_path / "out", Blobs())
    monkeypatch.setattr(pieces, "LARGE", 24 * 32)
    whole = prepared(tmp_path / "whole", Blobs())
    assert found["test"].keys() == whole["test"].keys()
    for name in ("train", "val"):
        assert sorted(found[name]) == sorted(f"{i}_y{y}_x{x}" for i in whole[name] for y in (0, 12) for x in (0, 16))
        files = {p.relative_to(tmp_path / "out" / name).as_posix() for p in (tmp_path / "out" / name).rglob("*.png")}
        assert files == {f"{part}/{i}.png" for part in ("images", "semantic") for i in found[name]}
        for image_id, sample in whole[name].items():
            for y, x in ((0, 0), (0, 16), (12, 0), (12, 16)):
                tile = found[name][f"{image_id}_y{y}_x{x}"]
                assert np.array_equal(tile.image, sample.image[y : y + 12, x : x + 16])
                assert np.array_equal(tile.semantic, sample.semantic[y : y + 12, x : x + 16])
                there = sample.instances[y : y + 12, x : x + 16]
                assert (tile.instances > 0).sum() == (there > 0).sum()
                assert len(tile.categories) == len(np.unique(there[there > 0]))


def test_tiles_keep_what_a_table_says_of_their_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "TILE", 16)
    source = folders(write_folders(tmp_path / "raw", ["a"]))
    stored = write_record(tmp_path / "train", source.read(source.items()[0]), len(CLASSES))
    stored = replace(stored, entry=replace(stored.entry, columns={"scanner": "B"}))
    made = tiled(tmp_path / "train", [stored], (len(CLASSES), None), 100)
    assert [s.entry.columns for s in made] == [{"scanner": "B", "cut_from": "a"}] * 4
    assert sum(s.counts.class_pixels for s in made).tolist() == stored.counts.class_pixels.tolist()
