"""Splits by lists and by ratios: seeded, whole groups, classes spread evenly; small sets counted by hand."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from greedy import greedy

from seg.core.errors import ConfigError, DataError
from seg.sources.splits import (
    SPLITS,
    by_blocks,
    by_fold,
    by_lists,
    by_ratios,
    check_fold,
    check_missing,
    deal,
    from_table,
    group_of,
    presence_of,
)

RATIOS = {"train": 0.7, "val": 0.15, "test": 0.15}


def names(count: int) -> list[str]:
    return [f"img{number:04d}" for number in range(count)]


def sizes(assigned: Sequence[str]) -> tuple[int, ...]:
    counted = Counter(assigned)
    return tuple(counted[s] for s in SPLITS)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("count", "expected"), [(3, (1, 1, 1)), (4, (2, 1, 1)), (10, (7, 2, 1)), (20, (14, 3, 3)), (200, (140, 30, 30))])
def test_sizes_without_stratification(seed: int, count: int, expected: tuple[int, ...]) -> None:
    assert sizes(by_ratios(names(count), None, RATIOS, seed)) == expected


def test_the_seed_alone_decides() -> None:
    groups = names(60)
    presence = np.random.default_rng(0).random((60, 4)) < 0.4
    for given in (None, presence):
        assigned = by_ratios(groups, given, RATIOS, 1)
        assert assigned == by_ratios(groups, given, RATIOS, 1)
        others = [by_ratios(groups, given, RATIOS, seed) for seed in range(2, 7)]
        assert all(sum(a != b for a, b in zip(assigned, other, strict=True)) > 10 for other in others)


@pytest.mark.parametrize("grouped", [False, True])
def test_the_order_of_the_images_does_not_matter(grouped: bool) -> None:
    rng = np.random.default_rng(3)
    groups = [f"scene{number}" for number in rng.integers(0, 30, 90)] if grouped else names(90)
    presence, shuffled = rng.random((90, 5)) < 0.3, rng.permutation(90)
    assigned = by_ratios(groups, presence, RATIOS, 0)
    again = by_ratios([groups[i] for i in shuffled], presence[shuffled], RATIOS, 0)
    assert again == [assigned[i] for i in shuffled]


@pytest.mark.parametrize("seed", range(10))
def test_a_group_is_never_torn_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [f"scene{number}" for number in rng.integers(0, 40, 300)]
    presence = rng.random((300, 4)) < 0.3
    for given, tolerance in ((None, max(Counter(groups).values())), (presence, 30)):  # classes come before sizes
        assigned = by_ratios(groups, given, RATIOS, seed)
        assert max(len({a for a, g in zip(assigned, groups, strict=True) if g == group}) for group in set(groups)) == 1
        for split, count in zip(SPLITS, sizes(assigned), strict=True):
            assert abs(count - RATIOS[split] * 300) <= tolerance
            assert presence[np.array(assigned) == split].any(axis=0).all()


@pytest.mark.parametrize("seed", range(10))
def test_a_rare_class_reaches_every_split(seed: int) -> None:
    presence = np.zeros((200, 2), bool)
    presence[:, 0] = True
    presence[np.random.default_rng(seed).choice(200, 12, replace=False), 1] = True
    assigned = np.array(by_ratios(names(200), presence, RATIOS, seed))
    assert [int(presence[assigned == s, 1].sum()) for s in SPLITS] == [8, 2, 2], "12 times 0.7, 0.15 and 0.15, rounded"
    assert sizes(assigned) == (140, 30, 30)


@pytest.mark.parametrize("seed", range(5))
def test_every_class_is_spread_by_the_ratios(seed: int) -> None:
    """Within two images of a class's share, and of a split's; a random draw of the same sizes misses that by far."""
    rng = np.random.default_rng(seed)
    presence = rng.random((400, 6)) < [0.95, 0.5, 0.3, 0.15, 0.08, 0.04]
    assigned = np.array(by_ratios(names(400), presence, RATIOS, seed))

    def largest_miss(drawn: np.ndarray) -> float:
        amounts = np.column_stack([np.ones(400), presence])
        return max(np.abs(amounts[drawn == s].sum(axis=0) - RATIOS[s] * amounts.sum(axis=0)).max() for s in SPLITS)

    assert largest_miss(assigned) <= 2
    assert np.median([largest_miss(rng.permutation(assigned)) for _ in range(100)]) > 4


def test_every_split_gets_a_group_even_when_its_share_is_small() -> None:
    ratios = {"train": 0.98, "val": 0.01, "test": 0.01}
    presence = np.ones((5, 1), bool)
    assert sizes(by_ratios(names(5), presence, ratios, 0)) == (3, 1, 1)


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(DataError, match=r"^data.split: 2 groups of images cannot fill 3 splits; add images, or change data.split.group"):
        by_ratios(["a", "a", "b", "b"], None, RATIOS, 0)


@pytest.mark.parametrize(
    "ratios",
    [{"train": 0.7, "val": 0.2, "test": 0.2}, {"train": 0.8, "val": 0.2}, {"train": 0.7, "val": 0.15, "exam": 0.15}],
)
def test_ratios_that_are_no_shares_of_the_three_splits_are_refused(ratios: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"^data.split.ratios=.*: expected train, val and test that sum to 1"):
        by_ratios(names(10), None, ratios, 0)


@pytest.mark.parametrize("seed", range(60))
def test_dealing_is_the_greedy_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, kinds = int(rng.integers(6, 70)), int(rng.integers(1, 7))
    groups = [f"g{number}" for number in rng.integers(0, count, count)] if seed % 2 else names(count)
    presence = None if seed % 5 == 0 else rng.random((count, kinds)) < rng.random(kinds)
    for shares in (RATIOS, {"train": 0.97, "val": 0.01, "test": 0.02}, {str(n): 1 / 5 for n in range(5)}):
        if len(set(groups)) >= len(shares):
            assert deal(groups, presence, shares, seed, "parts") == greedy(groups, presence, shares, seed)


def test_fifty_thousand_images_take_seconds() -> None:
    presence = np.random.default_rng(0).random((50_000, 20)) < 0.2
    start = time.process_time()
    assigned = by_ratios(names(50_000), presence, RATIOS, 0)
    by_fold(assigned, names(50_000), presence, 10, 3, 0)
    assert time.process_time() - start < 10
    assert sizes(assigned) == (35_000, 7_500, 7_500)


@pytest.mark.parametrize("folds", [2, 5, 7])
@pytest.mark.parametrize("grouped", [False, True])
def test_folds_hold_each_image_but_those_of_test_once(folds: int, grouped: bool) -> None:
    rng = np.random.default_rng(folds)
    groups = [f"scene{number}" for number in rng.integers(0, 40, 200)] if grouped else names(200)
    presence = rng.random((200, 3)) < 0.3
    places = by_ratios(groups, presence, RATIOS, 0)
    dealt = [by_fold(places, groups, presence, folds, fold, 0) for fold in range(folds)]
    for index, place in enumerate(places):
        there = Counter(fold[index] for fold in dealt)
        assert there == ({"test": folds} if place == "test" else {"val": 1, "train": folds - 1})
    for fold in dealt:
        assert max(len({p for p, g in zip(fold, groups, strict=True) if g == group}) for group in set(groups)) == 1
    assert by_fold(places, groups, presence, folds, 1, 0) == dealt[1]
    assert by_fold(places, groups, presence, folds, 1, 1) != dealt[1]


def test_folds_are_stratified() -> None:
    presence = np.zeros((100, 2), bool)
    presence[:, 0] = True
    presence[:10, 1] = True
    places = ["train"] * 100
    for fold in range(5):
        val = np.array(by_fold(places, names(100), presence, 5, fold, 0)) == "val"
        assert (val.sum(), presence[val, 1].sum()) == (20, 2), "a fifth of all, and of the images with the rare class"


def test_folds_that_cannot_be_are_refused() -> None:
    check_fold(None, 5)
    check_fold(4, 5)
    with pytest.raises(ConfigError, match=r"^data.fold=5: expected 0 to 4, as data.split.folds=5; null is no fold$"):
        check_fold(5, 5)
    with pytest.raises(DataError, match=r"^data.split: 3 groups of images cannot fill 5 folds; add images, or change data.split.group"):
        by_fold(["train", "train", "val", "test"], names(4), None, 5, 0, 0)


def test_groups_by_a_regular_expression() -> None:
    assert group_of("seq03_frame0012", None) == "seq03_frame0012"
    assert group_of("seq03_frame0012", r"^seq\d+") == "seq03"
    assert group_of("seq03_frame0012", r"seq(\d+)_") == "03"
    with pytest.raises(ConfigError, match=r"data.split.group='\^img': does not match the image 'seq03'; widen the expression"):
        group_of("seq03", "^img")
    with pytest.raises(ConfigError, match="does not match the image 'seq03'"):
        group_of("seq03", r"(night)?seq")
    with pytest.raises(ConfigError, match=r"data.split.group='\(seq': is not a regular expression"):
        group_of("seq03", "(seq")


def write_lists(folder: Path, **lines: str) -> dict[str, Path]:
    paths = {split: folder / f"{split}.txt" for split in SPLITS}
    for split, path in paths.items():
        path.write_text(lines.get(split, ""))
    return paths


def test_lists_name_images_in_any_of_their_ways(tmp_path: Path) -> None:
    known = {"a": ["a", "a.jpg"], "sub/b": ["sub/b", "sub/b.jpg", "b.jpg"], "c": ["c", "c.jpg"], "d": ["d", "d.jpg"]}
    lists = write_lists(tmp_path, train="# two of them\n a \n\nb.jpg\n", val="c.jpg\nc\n")
    assert by_lists(known, lists) == {"a": "train", "sub/b": "train", "c": "val"}


def test_a_list_with_an_unknown_name_is_refused(tmp_path: Path) -> None:
    lists = write_lists(tmp_path, val="# first\nstreet_07\nstreet_08\n")
    with pytest.raises(
        DataError, match=r"val.txt, line 3: there is no image 'street_08'; did you mean 'street_07'\? \(images: street_07\)"
    ):
        by_lists({"street_07": ["street_07"]}, lists)


@pytest.mark.parametrize(
    ("name", "hint"), [("img_0012", "did you mean 'img0012'?"), ("something else", "correct the name or remove the line")]
)
def test_the_answer_to_an_unknown_name_stays_short(tmp_path: Path, name: str, hint: str) -> None:
    lists = write_lists(tmp_path, train=name)
    with pytest.raises(DataError) as error:
        by_lists({n: [n] for n in names(500)}, lists)
    assert str(error.value) == f"{lists['train']}, line 1: there is no image '{name}'; {hint}"


def test_a_name_in_two_lists_is_refused(tmp_path: Path) -> None:
    lists = write_lists(tmp_path, train="a\nb\n", test="b.jpg\n")
    with pytest.raises(DataError, match=r"test.txt, line 1: 'b.jpg' is also in the list of train; keep it in one"):
        by_lists({"a": ["a"], "b": ["b", "b.jpg"]}, lists)


def test_a_name_of_two_images_is_refused(tmp_path: Path) -> None:
    known = {"day/x": ["day/x", "day/x.jpg", "x.jpg"], "night/x": ["night/x", "night/x.jpg", "x.jpg"]}
    assert by_lists(known, write_lists(tmp_path, train="day/x\n", val="night/x.jpg\n")) == {"day/x": "train", "night/x": "val"}
    with pytest.raises(DataError, match=r"train.txt, line 1: 'x.jpg' may be day/x or night/x; write one of those instead"):
        by_lists(known, write_lists(tmp_path, train="x.jpg\n"))


def test_a_missing_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.txt: there is no such list; set data.split.lists.train"):
        by_lists({}, {"train": tmp_path / "nowhere.txt"})


def write_table(folder: Path, *rows: str) -> Path:
    path = folder / "index.csv"
    path.write_text("\n".join(["name,kind", *rows]) + "\n")
    return path


def test_a_table_names_images_in_any_of_their_ways(tmp_path: Path) -> None:
    known = {"a": ["a", "a.jpg"], "sub/b": ["sub/b", "sub/b.jpg", "b.jpg"], "c": ["c", "c.jpg"]}
    path = write_table(tmp_path, "b.jpg,dark", "c,light", "of another set,light", "a.jpg,dark")
    assert from_table(known, path, "name", ("kind",)) == [
        {"name": "a.jpg", "kind": "dark"},
        {"name": "b.jpg", "kind": "dark"},
        {"name": "c", "kind": "light"},
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,dark"], "index.csv: has no row whose 'name' is day/x (and 1 more images); add it, or set data.split.table.id"),
        (["a,dark", "day/x,dark", "night/x,dark", "a.jpg,dark"], "index.csv, line 5: 'a.jpg' has a row already, in line 2; remove one"),
        (["x.jpg,dark"], "index.csv, line 2: 'x.jpg' may be day/x or night/x; write one of those instead"),
        (["a,"], "index.csv, line 2: has no value in the column 'kind'; fill it in, or remove the line"),
    ],
)
def test_a_table_that_does_not_fit_the_images_is_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    known = {"a": ["a", "a.jpg"], "day/x": ["day/x", "x.jpg"], "night/x": ["night/x", "x.jpg"]}
    with pytest.raises(DataError) as error:
        from_table(known, write_table(tmp_path, *rows), "name", ("kind",))
    assert str(error.value) == f"{tmp_path}/{message}"


def test_a_missing_column_is_refused_with_the_nearest(tmp_path: Path) -> None:
    path = write_table(tmp_path, "a,dark")
    for column, answer in (("kinds", "did you mean 'kind'?"), ("size", "columns: kind, name")):
        with pytest.raises(DataError) as error:
            from_table({"a": ["a"]}, path, "name", (column,))
        assert str(error.value).startswith(f"{path}: has no column '{column}' in its first line; {answer}")


def test_values_of_a_column_as_classes_to_stratify_by() -> None:
    presence = presence_of(["x", "y", "x", "z", "x", "x", "x", "y", "x"], "kind")
    assert presence.T.astype(int).tolist() == [[1, 0, 1, 0, 1, 1, 1, 0, 1], [0, 1, 0, 0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0, 0, 0, 0]]
    assert presence_of(["x"], "kind").tolist() == [[True]]
    with pytest.raises(ConfigError, match=r"^data.split.stratify=size: the column has 3 different values for 8 images, .* a few kinds"):
        presence_of(["1", "2", "3", "1", "2", "3", "1", "2"], "size")


@pytest.mark.parametrize("seed", range(10))
def test_every_value_of_a_column_is_spread_by_the_ratios(seed: int) -> None:
    values = ["fluo"] * 86 + ["histology"] * 12 + ["brightfield"]
    assigned = np.array(by_ratios(names(99), presence_of(values, "kind"), RATIOS, seed))
    for value, count in Counter(values).items():
        for name, ratio in RATIOS.items():
            assert abs(sum(a == name and v == value for a, v in zip(assigned, values, strict=True)) - ratio * count) < 1, (value, name)


def test_a_negative_seed_is_refused(make_config: Callable[..., object]) -> None:
    with pytest.raises(ConfigError, match=r"^data.split.seed=-1: expected greater than or equal to 0"):
        make_config("data.split.seed=-1")


def test_a_group_that_is_neither_an_expression_nor_a_column_is_refused(make_config: Callable[..., object]) -> None:
    make_config("data.split.group={column: patient}")
    for value, answer in (
        ("{colum: patient}", "unknown key data.split.group.colum: did you mean 'column'?"),
        ("3", "data.split.group=3: expected"),
    ):
        with pytest.raises(ConfigError, match=f"^{answer}".replace("?", "\\?")):
            make_config(f"data.split.group={value}")


def test_blocks_are_neighbours_in_natural_order() -> None:
    names = [str(number) for number in range(30)]
    shuffled = {name: name for name in sorted(names)}
    ratios = {"train": 0.7, "val": 0.1, "test": 0.2}
    assert [by_blocks(shuffled, ratios)[name] for name in names] == ["train"] * 21 + ["val"] * 3 + ["test"] * 6


def test_blocks_do_not_divide_a_group() -> None:
    groups = {f"{film}_{frame}": film for film, count in (("a", 5), ("b", 2), ("c", 3)) for frame in range(count)}
    found = by_blocks(groups, {"train": 0.55, "val": 0.15, "test": 0.3})
    assert {film: {found[i] for i in groups if groups[i] == film} for film in "abc"} == {"a": {"train"}, "b": {"val"}, "c": {"test"}}
    with pytest.raises(ConfigError, match=r"^data.split.by=blocks: set data.split.ratios"):
        by_blocks(groups, None)
    with pytest.raises(ConfigError, match=r"that sum to 1, got 1\.1"):
        by_blocks(groups, {"train": 0.8, "val": 0.15, "test": 0.15})


def test_a_list_may_have_further_columns(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("# image class species breed\nbeagle_1 1 2 5\nwith blank\n\npug_2.jpg\t37 2 25\n")
    names = {"beagle_1": ("beagle_1",), "pug_2": ("pug_2", "pug_2.jpg"), "with blank": ("with blank",), "with": ("with",)}
    assert by_lists(names, {"train": path}) == {"beagle_1": "train", "with blank": "train", "pug_2": "train"}
    path.write_text("corgi_3 1 2 5\n")
    with pytest.raises(DataError, match=r"train.txt, line 1: there is no image 'corgi_3 1 2 5'"):
        by_lists(names, {"train": path})


def test_the_ratios_that_make_up_for_a_split_without_images() -> None:
    check_missing(["val"], {"train": 0.8, "val": 0.2, "test": 0.0}, "data.split.lists")
    check_missing(["val", "test"], {"train": 0.6, "val": 0.2, "test": 0.2}, "data.split.lists")
    example = r"as {train: 0.85, val: 0.15, test: 0}: the shares sum to 1, and a split with images of its own has 0$"
    for wrong in (None, {"train": 0.7, "val": 0.2, "test": 0.1}):
        with pytest.raises(
            ConfigError, match=r"^data.split.folders: names nothing for val; name it, or say by data.split.ratios .*" + example
        ):
            check_missing(["val"], wrong, "data.split.folders")
    with pytest.raises(ConfigError, match=r"^data.split.lists: names nothing for train"):
        check_missing(["train"], {"train": 0.8, "val": 0.2, "test": 0.0}, "data.split.lists")
    with pytest.raises(ConfigError, match=r"that sum to 1, got 0\.9$"):
        check_missing(["val"], {"train": 0.8, "val": 0.1, "test": 0.0}, "data.split.lists")


def test_lists_with_a_byte_order_mark_and_decomposed_names(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(f"a\n{normalize('NFD', 'über')}\n", "utf-8-sig")
    names = {"a": ("a",), "über": ("über",)}
    assert by_lists(names, {"train": tmp_path / "train.txt"}) == {"a": "train", "über": "train"}
