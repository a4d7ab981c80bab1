"""Checks of what was prepared, before it is kept: what would make training fail or its figures lie is refused."""

from collections.abc import Mapping, Sequence

import numpy as np

from seg.errors import DataError
from seg.sample import IGNORE, ClassInfo
from seg.store import DatasetInfo, Stored

SHOWN = 12  # classes that a warning lists


def refuse_empty(splits: Mapping[str, Sequence[Stored]]) -> None:
    """Raise DataError for a split without an image."""
    for name, members in splits.items():
        if not members:
            counts = ", ".join(f"{s} {len(m)}" for s, m in splits.items())
            raise DataError(f"the split {name} is empty ({counts} images); change data.split, or add images to it")


def refuse_leaks(splits: Mapping[str, Sequence[Stored]]) -> None:
    """Raise DataError where the same picture, by its pixels, lies in two splits."""
    seen: dict[str, tuple[str, str]] = {}
    leaks = []
    for name, members in splits.items():
        for stored in members:
            before = seen.setdefault(stored.entry.sha256, (name, stored.entry.file))
            if before[0] != name:
                leaks.append(f"{name}/{stored.entry.file} is the same picture as {before[0]}/{before[1]}")
    if leaks:
        more = f" (and {len(leaks) - 1} more such pairs)" if len(leaks) > 1 else ""
        raise DataError(f"{leaks[0]}{more}: figures on it would be too good; remove one, or keep both in one split with data.split.group")


def refuse_one_class(stored: Sequence[Stored], classes: Sequence[ClassInfo]) -> None:
    """Raise DataError where the labels hold a single class, from which nothing can be learned."""
    pixels = sum((s.class_pixels for s in stored), np.zeros(256, np.int64))
    present = [c.name for c, count in zip(classes, pixels, strict=False) if count]
    if len(present) < 2:
        ignored = f"; {pixels[IGNORE] / pixels.sum():.0%} of the pixels are ignored" if pixels[IGNORE] else ""
        raise DataError(
            f"the labels hold {'no class' if not present else f'the class {present[0]} alone'}{ignored}: "
            "compare data.classes, data.source.values and data.source.ignore with the values in the masks"
        )


def refuse_no_instances(splits: Mapping[str, Sequence[Stored]]) -> None:
    """Raise DataError where a data set of instances has none to learn from; crowds are none."""
    counts = {name: sum(not a["iscrowd"] for s in members for a in s.annotations) for name, members in splits.items()}
    if not any(counts.values()):
        crowds = sum(len(s.annotations) for members in splits.values() for s in members)
        only = f" ({crowds} crowd or ignored regions alone)" if crowds else ""
        raise DataError(f"the labels hold no instance in any image{only}: compare data.source with the layout of the files")
    if not counts["train"]:
        there = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DataError(f"the split train holds no instance ({there} instances); change data.split, or its seed")


def absent_classes(info: DatasetInfo) -> list[str]:
    """What is worth saying of classes that a split does not hold, a line a split."""
    lines = []
    for split, counts in info.splits.items():
        absent = [c.name for c, pixels in zip(info.classes, counts["class_pixels"], strict=True) if not pixels]
        if len(absent) == 1:
            means = "it cannot be learned" if split == "train" else "its figures will be blank"
            lines.append(f"the class {absent[0]} has no pixel in {split}: {means}")
        elif absent:
            means = "they cannot be learned" if split == "train" else "their figures will be blank"
            more = f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else ""
            lines.append(f"{len(absent)} classes have no pixel in {split}: {means} ({', '.join(absent[:SHOWN])}{more})")
    return lines
