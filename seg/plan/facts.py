"""What a plan is made from: figures of the training split, of the machine, and of the time there is. And what a rule gives: values of keys
of the configuration, each with its reason in words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from skimage.measure import label

from seg.data.sample import BACKGROUND, IGNORE, Sample
from seg.data.store import DatasetInfo, read_annotations, read_entries, read_sample
from seg.plan.orientation import Direction, directions, features_of
from seg.settings.planned import merged, with_value
from seg.settings.section import Params, value_at

LOOKED_AT = 64  # images of the training split whose pixels are read
PIXELS = 1 << 28  # fewer images are read where they are larger
GRAY = 2.0  # mean difference of the channels, of 255, up to which an RGB image counts as gray


@dataclass(frozen=True, slots=True)
class Objects:
    """Of the training split's instances. side: percentiles of the square root of the area in pixels; ratio: of height / width."""

    count: int
    most: int  # in one image
    median: float  # in one image
    side: Mapping[str, float]
    ratio: Mapping[str, float]
    touching: float = 0.0  # share of the objects that lie beside another, as for the next two of those that were looked at
    overlapping: float = 0.0  # share of them that share a pixel with another
    broken: float = 0.0  # share of them whose visible pixels are no connected region


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What the rules read. Sizes are in pixels of stored images.

    task: semantic or instance. shares: of the labelled pixels, a class. widths: of each class that is no background, the width of its
    regions in the images where they are narrowest (5th percentile). objects: None where the task is not about instances. cores: processors
    of this process. memory: bytes that are free. drawn: whether the data set is the example that the program draws. validation_size: pixels
    of a mean validation image, over those of the median training image. devices: that train together.
    test_drawn: whether the test split was drawn from all images."""

    task: str
    classes: Sequence[str]
    channels: int
    colour: bool
    images: int
    validation_images: int
    test_images: int
    test_drawn: bool
    height: Mapping[str, float]
    width: Mapping[str, float]
    shares: Sequence[float]
    widths: Mapping[str, float]
    objects: Objects | None
    directions: Mapping[str, Direction]
    device: str
    cores: int
    memory: int
    drawn: bool
    validation_size: float = 1.0
    devices: int = 1

    @property
    def median_pixels(self) -> float:
        """Of an image."""
        return self.height["median"] * self.width["median"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the pixels of some training images say; see `PlanFacts`."""

    colour: bool
    widths: dict[str, float]
    directions: dict[str, Direction]
    samples: list[Sample]
    contacts: Mapping[str, float] = field(default_factory=dict)  # what `contacts_of` counts, as shares


def look(prepared: Path, info: DatasetInfo, with_instances: bool) -> Seen:
    """Read up to LOOKED_AT images of the training split, evenly over it. The first eight samples are kept."""
    folder = prepared / "train"
    entries, annotations = read_entries(folder), read_annotations(folder) if with_instances else {}
    largest = max(e.height * e.width for e in entries)
    count = max(1, min(len(entries), LOOKED_AT, PIXELS // largest))
    names = [c.name for c in info.classes]
    widths: dict[str, list[float]] = {name: [] for name in names if name != BACKGROUND}
    differences, features, kept, counts = list[float](), list[np.ndarray](), list[Sample](), np.zeros(4)
    for index in sorted({int(i) for i in np.linspace(0, len(entries) - 1, count)}):
        sample = read_sample(folder, entries[index], info.channels, annotations.get(entries[index].file, ()))
        differences.append(_colourfulness(sample.image))
        features.append(features_of(sample, len(names)))
        counts += contacts_of(sample)
        for name, width in region_widths(sample.semantic, names).items():
            widths.setdefault(name, []).append(width)
        if len(kept) < 8:
            kept.append(sample)
    narrow = {name: round(float(np.percentile(found, 5)), 1) for name, found in widths.items() if found}
    contacts = dict(zip(("touching", "overlapping", "broken"), (counts[1:] / max(1, counts[0])).round(3).tolist(), strict=True))
    return Seen(float(np.mean(differences)) > GRAY, narrow, directions(features), kept, contacts)


def contacts_of(sample: Sample) -> tuple[int, int, int, int]:
    """How many objects a sample has, crowds left out; and how many of them lie beside another, share a pixel with another, and are in
    several parts as far as they are visible. A corner is enough to be beside, or of one part."""
    instances, true = sample.instances, ~sample.crowd
    if not instances.size or not true.any():
        return int(true.sum()), 0, 0, 0
    top = instances.max(axis=2)
    beside, over, broken = (np.zeros(len(true) + 1, bool) for _ in range(3))
    for first, second in ((top[1:], top[:-1]), (top[:, 1:], top[:, :-1]), (top[1:, 1:], top[:-1, :-1]), (top[1:, :-1], top[:-1, 1:])):
        meet = (first != second) & (first > 0) & (second > 0)
        beside[first[meet]] = beside[second[meet]] = True
    over[instances[(instances > 0).sum(axis=2) > 1]] = True
    regions = label(top, background=0, connectivity=2)
    (ids, of_id) = np.unique(np.unique(np.stack([top[regions > 0], regions[regions > 0]]), axis=1)[0], return_counts=True)
    broken[ids[of_id > 1]] = True
    return int(true.sum()), *(int((found[1:] & true).sum()) for found in (beside, over, broken))  # type: ignore[return-value]


def region_widths(semantic: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """{class: mean width in pixels of its regions, background left out}: twice the area over the length of the outline.

    For a strip this is its width (5 % more or less, by its direction), for a disc half its diameter. The outline is measured by Crofton's
    formula: steps to another label are counted along rows, columns and both diagonals. The image's own border is no outline."""
    outlines = np.zeros(256)
    for first, second, apart in (
        (semantic[1:], semantic[:-1], 1.0),
        (semantic[:, 1:], semantic[:, :-1], 1.0),
        (semantic[1:, 1:], semantic[:-1, :-1], 2**-0.5),
        (semantic[1:, :-1], semantic[:-1, 1:], 2**-0.5),
    ):
        differ = (first != second) & (first != IGNORE) & (second != IGNORE)
        steps = np.bincount(first[differ], minlength=256) + np.bincount(second[differ], minlength=256)
        outlines += steps * apart * np.pi / 8
    areas = np.bincount(semantic.reshape(-1), minlength=256)
    return {name: 2 * float(areas[c] / outlines[c]) for c, name in enumerate(classes) if name != BACKGROUND and areas[c] and outlines[c]}


def objects_of(prepared: Path, contacts: Mapping[str, float]) -> Objects:
    """The figures of the training split's instances, crowds left out."""
    annotations = read_annotations(prepared / "train")
    sides, ratios, counts = [], [], []
    for found in annotations.values():
        true = [a for a in found if not a["iscrowd"] and a["area"]]
        counts.append(len(true))
        sides += [a["area"] ** 0.5 for a in true]
        ratios += [a["bbox"][3] / max(1, a["bbox"][2]) for a in true]
    if not sides:
        return Objects(0, 0, 0.0, _percentiles([0.0]), _percentiles([1.0]))
    return Objects(len(sides), max(counts), float(np.median(counts)), _percentiles(sides), _percentiles(ratios), **contacts)


def gather_facts(prepared: Path, info: DatasetInfo, seen: Seen, task: str, with_instances: bool, machine: Mapping[str, Any]) -> PlanFacts:
    """All figures together. machine: device, devices, cores, memory."""
    statistics, validation = info.statistics, info.splits["val"]
    sizes = {tuple(map(int, size.split("x"))): count for size, count in validation["sizes"].items()}
    pixels = sum(height * width * count for (height, width), count in sizes.items()) / max(1, validation["num_images"])
    return PlanFacts(
        task=task,
        classes=[c.name for c in info.classes],
        channels=info.channels,
        colour=seen.colour,
        images=int(info.splits["train"]["num_images"]),
        validation_images=int(validation["num_images"]),
        validation_size=pixels / (statistics["height"]["median"] * statistics["width"]["median"]),
        test_images=int(info.splits["test"]["num_images"]),
        test_drawn="test" in info.in_folds,
        height=statistics["height"],
        width=statistics["width"],
        shares=statistics["class_shares"],
        widths=seen.widths,
        objects=objects_of(prepared, seen.contacts) if with_instances else None,
        directions=seen.directions,
        **machine,
        drawn=info.settings.get("source", {}).get("_target_") == "seg.sources.shapes.Shapes",
    )


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(values, q)), 2) for q in (5, 10, 25, 50, 75, 90, 95, 99)}


def _colourfulness(image: np.ndarray) -> float:
    """Mean difference between an RGB image's channels, of 255; 0 for images of one channel."""
    if image.shape[2] != 3:
        return 0.0
    step = max(1, image.shape[0] * image.shape[1] // 100_000)
    pixels = image.reshape(-1, 3)[::step].astype(np.int16)
    return float((pixels.max(axis=1) - pixels.min(axis=1)).mean())


@dataclass(frozen=True, slots=True)
class Decision:
    """key: of the configuration, such as model.scale; or a whole section, such as loss. reason: a sentence without a full stop."""

    key: str
    value: Any
    reason: str


class Draft:
    """A configuration while it is planned: values that a person set stay, and those that say `auto` are chosen one after another."""

    def __init__(self, params: Params, open_keys: Iterable[str]) -> None:
        self.params, self.open, self.chosen = params, set(open_keys), list[Decision]()

    def __getitem__(self, key: str) -> Any:
        """The value of a key as it stands; None where there is no such key."""
        return value_at(self.params, key)

    def is_open(self, key: str) -> bool:
        return key in self.open

    def take(self, *rules: Iterator[Decision]) -> None:
        """Set what is open, rule by rule: each sees what those before it set. A value that a person set stays."""
        for choice in chain.from_iterable(rules):
            if choice.key in self.open:
                self.chosen.append(choice)
                self.open.discard(choice.key)
                self.params = with_value(self.params, choice.key, merged(self[choice.key], choice.value))


def budget_of(draft: Draft) -> float:
    """Minutes of one training: folds share those of the plan."""
    return float(draft["plan.minutes"] / (draft["plan.folds"] or 1))
