"""Which class a raw label is of: a category's name, a mask's value, or its colour."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seg.core.errors import ConfigError, DataError, did_you_mean, enumerated, nearest
from seg.core.textfile import natural_key
from seg.data.labelmaps import semantic_from_instances
from seg.data.sample import BACKGROUND, IGNORE, ClassInfo, Color, Label, Sample

DROP = -1  # what a label has instead of a class where its regions are as if they were not there
SHOWN = 12  # labels that an error lists
KINDS = {int: "a value, such as 7", str: "a name, such as car", tuple: "a colour, such as [128, 0, 0]"}
FIX = "add it to a class in data.classes (labels: [...]), to data.source.ignore, or set data.source.others=ignore"
OTHERS = {"refuse": None, "ignore": IGNORE, "drop": DROP}
Labels = Iterable[Label | list[int]]


class ClassMap:
    """From raw labels to class indices.

    A class takes the labels that its entry in data.classes lists under `labels`; without them its place in the list (where
    labels are values), its name, or its colour. So classes are renamed, merged, reordered, and ids may have gaps. ignore:
    labels whose pixels count nowhere. drop: labels whose regions are as if they were not there. others: what becomes of
    labels that are not listed at all: `refuse`, `ignore` or `drop`. ConfigError where a label stands twice, or is of another
    type than `kind`: int (values), str (names) or tuple (colours)."""

    def __init__(self, classes: Sequence[ClassInfo], kind: type, ignore: Labels, drop: Labels = (), others: str = "refuse") -> None:
        check_choice("data.source.others", others, tuple(OTHERS))
        self.classes, self.kind, self.others = list(classes), kind, OTHERS[others]
        self.lookup: dict[Label, int] = {}
        own = {int: lambda index, _: index, str: lambda _, c: c.name, tuple: lambda _, c: c.color}[kind]
        for index, info in enumerate(classes):
            for label in info.labels or (own(index, info),):
                self._add(label, index, f"data.classes[{index}] ({info.name})")
        for key, labels, target in (("ignore", ignore, IGNORE), ("drop", drop, DROP)):
            for label in labels:
                self._add(label, target, f"data.source.{key}")

    def get(self, label: Label) -> int | None:
        """The class index of a label, IGNORE (255), DROP (-1), or None where it is unknown and must be refused."""
        return self.lookup.get(label, self.others)

    def named(self, label: str, where: object) -> int:
        """The class index of a name; DataError where it is unknown. where: what names it."""
        if (index := self.get(label)) is None:
            raise self.unknown(where, [label])
        return index

    def of_values(self, labels: Sequence[Label], path: object, pixels: Callable[[], Iterable[float]]) -> list[int]:
        """The class indices of a mask's values or colours; DataError for those that are unknown. pixels: how many each of them has."""
        found = [self.get(label) for label in labels]
        if None not in found:
            return found  # type: ignore[return-value]
        counts: Counter[Label] = Counter()
        for label, index, count in zip(labels, found, pixels(), strict=True):
            if index is None:
                counts[label] += int(count)
        kind = "unknown-color" if self.kind is tuple else "unknown-value"
        raise DataError(f"{path}: {self._unknown_pixels(counts)}", kind=kind)

    def unknown(self, where: object, labels: Sequence[str], noun: str = "name", told: str = "") -> DataError:
        """That no class has the first of these labels, nor the others: the nearest that there is, and the fix. told: more on the first."""
        first, *others = labels
        nor = f"; nor of {enumerated(others, SHOWN)}" if others else ""
        what = f"no class of data.classes has the {noun} '{first}'{told}"
        return DataError(f"{where}: {what}{self._nearest(first)}{nor}; {FIX}", kind="unknown-category")

    def _unknown_pixels(self, counts: Mapping[Label, int]) -> str:
        """What to say of values or colours without class, given their numbers of pixels: the most frequent first."""
        word = "value" if self.kind is int else "colour"
        ordered = sorted(counts, key=lambda label: -counts[label])
        values = self._nearest(ordered[0]) if self.kind is int else ""
        shown = {label: list(label) if isinstance(label, tuple) else label for label in ordered[:SHOWN]}
        told = [f"{one} in {counts[label]} pixels{'' if self.kind is int else self._nearest(label)}" for label, one in shown.items()]
        if len(told) == 1:
            return f"has the {word} {told[0]}, which no class has{values}; {FIX}"
        more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
        return f"has {len(ordered)} {word}s that no class has: {', '.join(told)}{more}{values}; {FIX.replace('add it', 'add each', 1)}"

    def _nearest(self, label: Label) -> str:
        known = {known: index for known, index in self.lookup.items() if 0 <= index < IGNORE}
        if isinstance(label, str):
            guess = nearest(label, [str(k) for k in known])
            return f" (nearest: {guess})" if guess else ""
        if isinstance(label, tuple):
            near = min((k for k in known if isinstance(k, tuple)), key=lambda k: distance(k, label))
            return f" (nearest: {self.classes[known[near]].name} {list(near)})"
        return f" (the classes have {', '.join(sorted(map(str, known), key=natural_key)[:SHOWN])})"

    def _add(self, label: object, target: int, where: str) -> None:
        shown = label
        if isinstance(label, list | tuple):
            label, shown = tuple(label), list(label)
        if not isinstance(label, int | str | tuple) or not isinstance(label, self.kind) or isinstance(label, bool):
            raise ConfigError(f"{where}: the label {shown!r}: expected {KINDS[self.kind]}")
        if label in self.lookup:
            raise ConfigError(f"{where}: the label {shown!r} stands twice; a label belongs to one class, or to data.source.ignore or drop")
        self.lookup[label] = target


def check_choice(key: str, value: str, known: Sequence[str]) -> None:
    """ConfigError where a setting is none of the known words."""
    if value not in known:
        raise ConfigError(f"{key}={value}: {did_you_mean(value, known, 'expected')}")


def refuse_both_or_neither(meaning: str, **settings: object) -> None:
    """ConfigError unless one of two settings is null. meaning: what the one and the other name."""
    if len([value for value in settings.values() if value is None]) != 1:
        given = " and ".join(f"data.source.{key}={value}" for key, value in settings.items())
        raise ConfigError(f"{given}: one must {meaning}, and the other must be null")


def distance(a: Color, b: Color) -> float:
    """How far apart two colours are, as the eye sees it, in about 0..765 ("redmean", a weighted Euclidean distance in RGB)."""
    mean = (a[0] + b[0]) / 2
    dr, dg, db = (float(x - y) for x, y in zip(a, b, strict=True))
    return float(((2 + mean / 256) * dr**2 + 4 * dg**2 + (2 + (255 - mean) / 256) * db**2) ** 0.5)


def categories_of(classes: Sequence[ClassInfo]) -> dict[str, int]:
    """{name: class index} of the classes that an instance may have: all but `background`, which must come first."""
    names = [c.name for c in classes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"data.classes: the name {twice[0]} stands twice; each class needs its own")
    if BACKGROUND in names[1:]:
        raise ConfigError(f"data.classes: {BACKGROUND}, the class of pixels without instance, must come first, or be left out")
    return {name: index for index, name in enumerate(names) if name != BACKGROUND}


def category_index(name: str, categories: Mapping[str, int], key: str) -> int:
    """The class index of a name that a setting has; ConfigError where no instance may be of it."""
    if name not in categories:
        raise ConfigError(f"data.source.{key}={name}: no class of data.classes has this name; {did_you_mean(name, categories, 'classes')}")
    return categories[name]


def background_of(classes: Sequence[ClassInfo]) -> int:
    """The class index of pixels of no instance: 0 where the class list starts with `background`, else 255 (ignored)."""
    return 0 if classes[0].name == BACKGROUND else IGNORE


def instance_sample(
    image_id: str, image: np.ndarray, instances: np.ndarray, categories: np.ndarray, crowd: np.ndarray, background: int
) -> Sample:
    """A Sample whose class map is derived from its instances. background: as `background_of` gives it. image: (H, W, C) uint8. instances:
    (H, W, L) int32 layered id map. categories: (N,) class indices. crowd: (N,) bool."""
    categories, crowd = categories.astype(np.int32), crowd.astype(bool)
    return Sample(image_id, image, semantic_from_instances(instances, categories, crowd, background), instances, categories, crowd)


@dataclass(frozen=True, slots=True)
class Segment:
    """What the pixels of a segment are. index: a class's, IGNORE or DROP. thing: one object, or a crowd of them; else stuff."""

    index: int
    thing: bool
    crowd: bool = False


class SegmentClasses:
    """Makes Samples of segments for a class list.

    The class map has each segment's class, crowds included; the class `background`, or 255 without one, where a segment is
    dropped. Things are instances, but for those of the class `background`; one that is ignored is a crowd (of the first class
    that an instance may have), so that it counts neither as found nor as missed. Crowds have the lowest ids, then segments
    in their order."""

    def __init__(self, classes: Sequence[ClassInfo]) -> None:
        self.categories, self.background = categories_of(classes), background_of(classes)
        self.first = min(self.categories.values())
        self.nothing = Segment(self.background, thing=False)
        """What unlabelled pixels are."""

    def sample(self, image_id: str, image: np.ndarray, places: np.ndarray, segments: Sequence[Segment]) -> Sample:
        """image: (H, W, C) uint8. places: (H, W) int32, which of the segments a pixel is of."""
        index = np.array([self.background if s.index == DROP else s.index for s in segments], np.uint8)
        left_out = (DROP, 0) if self.background == 0 else (DROP,)
        counted = [number for number, s in enumerate(segments) if s.thing and s.index not in left_out]
        crowds = {number for number in counted if segments[number].crowd or segments[number].index == IGNORE}
        ordered = sorted(counted, key=lambda number: number not in crowds)
        ids = np.zeros(len(segments), np.int32)
        ids[ordered] = np.arange(1, len(ordered) + 1)
        categories = np.array([self.first if segments[n].index == IGNORE else segments[n].index for n in ordered], np.int32)
        crowd = np.array([number in crowds for number in ordered], bool)
        return Sample(image_id, image, index[places], ids[places][:, :, None], categories, crowd)
