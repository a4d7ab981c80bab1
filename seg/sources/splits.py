"""Which image belongs to which split: by lists, by ratios, by blocks, or by folds.

Ratios and folds are seeded, keep groups together, and are stratified by class presence or by a column of a table."""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

import numpy as np

from seg.core.errors import ConfigError, DataError, and_more, did_you_mean, nearest
from seg.core.textfile import composed, natural_key, read_text
from seg.sources.content import first_group, read_rows

SPLITS = ("train", "val", "test")


def by_name(names: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], dict[str, str]]:
    """{name: image_id} of all that images may be called; and of names that stand for two images, the second of them."""
    known, shared = dict[str, str](), dict[str, str]()
    for image_id, called in names.items():
        for name in called:
            if known.setdefault(composed(name), image_id) != image_id:
                shared[composed(name)] = image_id
    return known, shared


def by_lists(names: Mapping[str, Sequence[str]], lists: Mapping[str, Path]) -> dict[str, str]:
    """{image_id: split} from a text file a split with a name a line, or a name and further columns; images in no list are left out. names:
    {image_id: what a list may call it}. Raises DataError for a missing list, a name without image or with two, or an image in two lists."""
    known, shared = by_name(names)
    assigned: dict[str, str] = {}
    for split, path in lists.items():
        if not path.is_file():
            raise DataError(f"{path}: there is no such list; set data.split.lists.{split}", kind="missing-file")
        lines = read_text(path).splitlines()
        for number, line in enumerate(lines, start=1):
            name = composed(line.strip())
            if not name or name.startswith("#"):
                continue
            if (name := listed(name, known)) not in known:
                raise DataError(f"{path}, line {number}: there is no image '{name}'; {_near(name, known)}")
            image_id = known[name]
            if name in shared:
                raise DataError(f"{path}, line {number}: '{name}' may be {image_id} or {shared[name]}; write one of those instead")
            if assigned.get(image_id, split) != split:
                raise DataError(f"{path}, line {number}: '{name}' is also in the list of {assigned[image_id]}; keep it in one")
            assigned[image_id] = split
    return assigned


def listed(line: str, known: Container[str]) -> str:
    """The image that a line of a list names: the whole line, its first word (further columns say what else is known of the image), or
    the end of a path that starts elsewhere; the line itself where that is no image."""
    for word in (line, line.split()[0]):
        parts = word.replace("\\", "/").split("/")
        if name := next((tail for start in range(len(parts)) if (tail := "/".join(parts[start:])) in known), None):
            return name
    return line


def from_table(names: Mapping[str, Sequence[str]], path: Path, id_column: str, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """The row of a CSV file for each image, in order, which has these columns at least. Rows of other images are passed over. names:
    {image_id: what the `id_column` may call it}. Raises DataError for an image without a row or with two, and for a row that may mean two
    images."""
    known, shared = by_name(names)
    found: dict[str, tuple[int, dict[str, str]]] = {}
    for line, row in read_rows(path, (id_column, *columns)):
        if (name := composed(row[id_column])) not in known:
            continue
        image_id = known[name]
        if name in shared:
            raise DataError(f"{path}, line {line}: '{name}' may be {image_id} or {shared[name]}; write one of those instead")
        if image_id in found:
            raise DataError(f"{path}, line {line}: '{name}' has a row already, in line {found[image_id][0]}; remove one")
        found[image_id] = line, row
    if missing := [image_id for image_id in names if image_id not in found]:
        first = f"{missing[0]}{and_more(missing, 'images')}"
        raise DataError(f"{path}: has no row whose '{id_column}' is {first}; add it, or set data.split.table.id")
    return [found[image_id][1] for image_id in names]


def presence_of(values: Sequence[str], column: str) -> np.ndarray:
    """(images, values) bool: which of the different values each image has; ConfigError where there are too many to stratify by."""
    different = sorted(set(values))
    if len(different) > 1 and len(different) * len(SPLITS) > len(values):
        have = f"the column has {len(different)} different values for {len(values)} images"
        raise ConfigError(f"data.split.stratify={column}: {have}, fewer than an image a split; name a column of a few kinds")
    return np.array(values)[:, None] == np.array(different)[None, :]


def group_of(image_id: str, pattern: str | None) -> str:
    """The part of a name that the regular expression matches (its first group, if it has one); the name without one."""
    found = image_id if pattern is None else first_group(pattern, image_id, "data.split.group")
    if found is None:
        raise ConfigError(f"data.split.group={pattern!r}: does not match the image '{image_id}'; widen the expression")
    return found


def check_ratios(ratios: Mapping[str, float]) -> None:
    """Raise ConfigError where `ratios` are not the three splits' shares of a whole."""
    if abs(sum(ratios.values()) - 1) > 1e-6 or sorted(ratios) != sorted(SPLITS):
        raise ConfigError(f"data.split.ratios={dict(ratios)}: expected train, val and test that sum to 1, got {sum(ratios.values()):g}")


def by_ratios(groups: Sequence[str], presence: np.ndarray | None, ratios: Mapping[str, float], seed: int) -> list[str]:
    """The split of each image, in order. groups: each image's group; a group is never divided. presence: (images, classes) bool, or None
    without stratification. ratios: shares of the splits, which sum to 1."""
    check_ratios(ratios)
    return deal(groups, presence, {split: ratios[split] for split in SPLITS if ratios[split] > 0}, seed, "splits")


def check_fold(fold: int | None, folds: int) -> None:
    if fold is not None and fold >= folds:
        raise ConfigError(f"data.fold={fold}: expected 0 to {folds - 1}, as data.split.folds={folds}; null is no fold")


def by_fold(places: Sequence[str], groups: Sequence[str], presence: np.ndarray | None, folds: int, fold: int, seed: int) -> list[str]:
    """`places`, each image's split, with all that is not test dealt anew: one of `folds` parts to val, the others to train. The parts are
    the same for every `fold`. groups and presence: as for `by_ratios`, of all images."""
    rest = [index for index, place in enumerate(places) if place != "test"]
    parts = deal_folds([groups[i] for i in rest], None if presence is None else presence[rest], folds, seed)
    dealt = list(places)
    for index, part in zip(rest, parts, strict=True):
        dealt[index] = "val" if part == fold else "train"
    return dealt


def deal_folds(groups: Sequence[str], presence: np.ndarray | None, folds: int, seed: int) -> list[int]:
    """The fold of each image, from 0. groups and presence: as for `by_ratios`."""
    return [int(part) for part in deal(groups, presence, {str(number): 1 / folds for number in range(folds)}, seed, "folds")]


def deal(groups: Sequence[str], presence: np.ndarray | None, shares: Mapping[str, float], seed: int, noun: str) -> list[str]:
    """The part of each image, in order. shares: of each part, more than 0, which sum to 1. noun: what errors call the parts. Greedy
    iterative stratification (Sechidis et al. 2011): group by group, the rarest class first, into the part that lacks most of it. DataError
    where there are fewer groups than parts."""
    names, inverse = np.unique(np.array(groups, object).astype(str), return_inverse=True)
    parts = list(shares)
    if len(names) < len(parts):
        fix = "add images, or change data.split.group"
        raise DataError(f"data.split: {len(names)} groups of images cannot fill {len(parts)} {noun}; {fix}", kind="few-groups")
    columns = [np.ones(len(inverse)), *(() if presence is None else presence.T.astype(float))]
    # (groups, 1 + classes): the images of each group, and those that hold each class
    amounts = np.stack([np.bincount(inverse, weights=column, minlength=len(names)) for column in columns], axis=1)
    sizes = amounts[:, 0]
    wanted = np.array(list(shares.values()))[:, None] * amounts.sum(axis=0)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    chosen, left, remaining = np.full(len(names), -1), np.ones(len(names), bool), amounts.sum(axis=0)
    while left.any():
        present = np.flatnonzero(remaining[1:]) + 1
        column = int(present[np.argmin(remaining[present])]) if len(present) else 0
        for index in order[left[order] & (amounts[order, column] > 0)]:
            needs = wanted[:, column]
            needy = np.flatnonzero(needs == needs.max())
            place = needy[np.argmax(wanted[needy, 0])]
            wanted[place] -= amounts[index]
            remaining -= amounts[index]
            chosen[index], left[index] = place, False
    _fill_empty(chosen, len(parts), sizes)
    return [parts[place] for place in chosen[inverse]]


def _fill_empty(chosen: np.ndarray, num_parts: int, sizes: np.ndarray) -> None:
    """Give each empty part the smallest group of the one that has the most groups."""
    for part in range(num_parts):
        counts = np.bincount(chosen, minlength=num_parts)
        if not counts[part]:
            members = np.flatnonzero(chosen == counts.argmax())
            chosen[members[sizes[members].argmin()]] = part


def by_blocks(groups: Mapping[str, str], ratios: Mapping[str, float] | None) -> dict[str, str]:
    """{image_id: split}: one block of neighbours a split, in natural order of their names. For slices of a volume or frames of a film,
    which are so alike beside each other that chance would put near-copies of the training images into the test. groups: {image_id: group};
    a group is never divided. ratios: as for `by_ratios`."""
    if ratios is None:
        raise ConfigError("data.split.by=blocks: set data.split.ratios, as {train: 0.7, val: 0.15, test: 0.15}")
    check_ratios(ratios)
    return {image_id: SPLITS[block] for image_id, block in cut(groups, [ratios[split] for split in SPLITS]).items()}


def cut(groups: Mapping[str, str], shares: Sequence[float]) -> dict[str, int]:
    """{image_id: block}: `groups` as for `by_blocks`, cut into blocks of these shares, from 0."""
    borders = np.cumsum(shares)[:-1] * len(groups)
    middles: dict[str, list[float]] = defaultdict(list)
    for position, image_id in enumerate(sorted(groups, key=lambda i: (natural_key(groups[i]), natural_key(i)))):
        middles[groups[image_id]].append(position + 0.5)
    blocks = {group: int(np.searchsorted(borders, np.mean(found))) for group, found in middles.items()}
    return {image_id: blocks[group] for image_id, group in groups.items()}


def check_missing(missing: Sequence[str], ratios: Mapping[str, float] | None, key: str) -> None:
    """Raise ConfigError unless `ratios` say how train's images make up for the splits that have none of their own. missing: those splits;
    ratios give every other one but train a share of 0. key: the setting that names no images for them."""
    own = [name for name in SPLITS if name not in ("train", *missing)]
    if "train" in missing or ratios is None or any(ratios.get(name) for name in own):
        shares = dict.fromkeys(SPLITS, 0.0) | {"train": 0.7, "val": 0.15, "test": 0.15} | dict.fromkeys(own, 0.0)
        shares["train"] = round(1 - shares["val"] - shares["test"], 2)
        example = ", ".join(f"{name}: {share:g}" for name, share in shares.items())
        fix = f"name it, or say by data.split.ratios how the images of train are divided, as {{{example}}}: the shares sum to 1"
        raise ConfigError(f"{key}: names nothing for {' and '.join(missing)}; {fix}, and a split with images of its own has 0")
    check_ratios(ratios)


def _near(name: str, known: Mapping[str, str]) -> str:
    if len(known) < 20:
        return did_you_mean(name, known, "images")
    guess = nearest(name, known)
    return f"did you mean '{guess}'?" if guess else "correct the name or remove the line"
