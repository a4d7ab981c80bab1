"""Which image is in which fold: each in one, groups whole, classes spread, and what cannot be is refused."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from tiny import split

from seg.core.errors import ConfigError, DataError
from seg.data.store import ManifestEntry
from seg.stages.divide import folds_of


def entries(names: list[str], pixels: list[str] | None = None, kinds: list[str] | None = None) -> list[ManifestEntry]:
    """pixels: what stands for each image's content. kinds: what a table says of each."""
    pixels, kinds = pixels or names, kinds or [""] * len(names)
    return [ManifestEntry(n, f"{n}.png", 8, 8, 0, p, "", "", {"kind": k}) for n, p, k in zip(names, pixels, kinds, strict=True)]


def numbered(count: int) -> list[ManifestEntry]:
    return entries([f"img{number}" for number in range(count)])


def none(count: int) -> np.ndarray:
    return np.zeros((count, 0), bool)


@pytest.mark.parametrize("folds", [2, 3, 5, 10])
@pytest.mark.parametrize("count", [10, 13, 30])
def test_each_image_is_in_one_fold_and_folds_are_of_one_size(count: int, folds: int) -> None:
    dealt = folds_of(numbered(count), none(count), split(), folds)
    assert len(dealt) == count
    assert sorted(Counter(dealt)) == list(range(1, folds + 1))
    assert set(Counter(dealt).values()) <= {count // folds, -(-count // folds)}
    assert folds_of(numbered(count), none(count), split(), folds) == dealt
    assert folds_of(numbered(count), none(count), split(seed=1), folds) != dealt


def test_classes_are_spread_more_evenly_than_by_chance() -> None:
    rng = np.random.default_rng(0)
    presence = rng.random((40, 4)) < [0.9, 0.5, 0.25, 0.12]

    def spread(dealt: np.ndarray) -> float:
        return sum(np.var([presence[dealt == fold, c].sum() for fold in range(1, 6)]) for c in range(4))

    dealt = np.array(folds_of(numbered(40), presence, split(stratify=True), 5))
    by_chance = [spread(rng.permutation(np.repeat(range(1, 6), 8))) for _ in range(300)]
    assert spread(dealt) <= np.percentile(by_chance, 2)
    rarest = presence.sum(axis=0).argmin()
    held = [presence[dealt == fold, rarest].sum() for fold in range(1, 6)]
    assert max(held) - min(held) <= 1


def test_a_column_may_say_what_is_spread() -> None:
    listed = entries([f"img{n}" for n in range(20)], kinds=["rare"] * 4 + ["usual"] * 16)
    dealt = folds_of(listed, none(20), split(stratify="kind"), 4)
    assert sorted(dealt[:4]) == [1, 2, 3, 4]


def test_groups_and_copies_stay_together() -> None:
    rng = np.random.default_rng(3)
    names = [f"scene{scene}_{n}" for n, scene in enumerate(rng.integers(0, 12, 60))]
    for section in (split(group=r"^scene\d+", stratify=True), split(group={"column": "kind"}, stratify=True)):
        listed = entries(names, kinds=[name.partition("_")[0] for name in names])
        dealt = folds_of(listed, rng.random((60, 3)) < 0.4, section, 5)
        of_scene: dict[str, set[int]] = {}
        for name, fold in zip(names, dealt, strict=True):
            of_scene.setdefault(name.partition("_")[0], set()).add(fold)
        assert all(len(found) == 1 for found in of_scene.values())
        assert len(set(dealt)) == 5
    copies = entries([f"img{n}" for n in range(12)], pixels=["same"] * 3 + [str(n) for n in range(9)])
    assert len(set(folds_of(copies, none(12), split(), 4)[:3])) == 1
    tiles = [replace(e, columns={"cut_from": e.image_id[:4]}) for e in entries([f"big{n}_y{y}_x0" for n in range(5) for y in (0, 9)])]
    for section in (split(), split("blocks"), split(group=r"^big\d")):
        dealt = folds_of(tiles, none(10), section, 3)
        assert dealt[::2] == dealt[1::2]
        assert sorted(Counter(dealt).values()) == [2, 4, 4]


def test_blocks_of_neighbours_stay_blocks() -> None:
    names = [f"slice{number}" for number in np.random.default_rng(0).permutation(30)]
    dealt = dict(zip(names, folds_of(entries(names), none(30), split("blocks", stratify=True), 4), strict=True))
    in_order = [dealt[f"slice{number}"] for number in range(30)]
    assert sum(a != b for a, b in pairwise(in_order)) == 3, "each fold is one block, though classes would be spread otherwise"
    assert sorted(Counter(in_order).values()) == [7, 7, 8, 8]


def test_folds_that_cannot_be_are_refused() -> None:
    with pytest.raises(DataError, match=r"^plan.folds=5: there are 4 different images, and each fold needs one; set plan.folds=4 or fewer"):
        folds_of(entries(list("abcde"), pixels=list("aabcd")), none(5), split(), 5)
    with pytest.raises(DataError, match=r"^plan.folds=3: there are 2 groups of images \(data.split.group\), and each fold needs one"):
        folds_of(entries(["a1", "a2", "b1", "b2"]), none(4), split(group="^[ab]"), 3)
    with pytest.raises(DataError, match=r"^plan.folds=2: there are 1 different images, and each fold needs one; add images$"):
        folds_of(numbered(1), none(1), split(), 2)
    with pytest.raises(DataError, match=r"^plan.folds: two splits both have an image a, and folds mix them; rename one of the two"):
        folds_of(entries(["a", "b", "a"], pixels=list("xyz")), none(3), split(), 2)
    with pytest.raises(DataError, match=r"^plan.folds=3: no group of neighbours falls into fold 1, as groups"):
        folds_of(entries([f"a{n}" for n in range(8)] + ["b0", "c0"]), none(10), split("blocks", group="^[abc]"), 3)
    with pytest.raises(ConfigError, match=r"^data.split.stratify=kind: the column has 9 different values"):
        folds_of(entries([f"i{n}" for n in range(9)], kinds=list("abcdefghi")), none(9), split(stratify="kind"), 2)
