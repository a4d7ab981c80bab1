"""A data set's splits and classes as a page shows them: images, sizes, and each class's share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seg.data.sample import ClassInfo

SIZES = 4  # image sizes that are named

Splits = Mapping[str, Mapping[str, Any]]
"""A split's counts by its name, as prepared data keep them: num_images, num_instances, sizes, class_pixels, class_images."""


@dataclass(frozen=True, slots=True)
class Summary:
    """columns: names of the counts in `rows`, whose last is the sizes. rows: of each split. absent: classes without a pixel.

    classes: those that are listed, each with its share of each split's labelled pixels and the number of images that it is in."""

    columns: list[str]
    rows: dict[str, list[Any]]
    classes: list[tuple[ClassInfo, list[tuple[float, int]]]]
    absent: int


def summarise(splits: Splits, classes: Sequence[ClassInfo]) -> Summary:
    """What the page shows of the splits. Of two classes both are listed, of more those that have a pixel."""
    columns = {"images": "num_images"}
    if has_instances(splits):
        columns["instances"] = "num_instances"
    if any("near_duplicates" in counts for counts in splits.values()):
        columns["images nearly the same as another there"] = "near_duplicates"
    rows = {name: [*(counts[key] for key in columns.values()), _sizes(counts["sizes"])] for name, counts in splits.items()}
    totals = {name: max(1, sum(counts["class_pixels"])) for name, counts in splits.items()}
    listed = [
        (info, [(counts["class_pixels"][k] / totals[name], counts["class_images"][k]) for name, counts in splits.items()])
        for k, info in enumerate(classes)
        if len(classes) <= 2 or any(counts["class_images"][k] for counts in splits.values())
    ]
    return Summary(list(columns), rows, listed, len(classes) - len(listed))


def has_instances(splits: Splits) -> bool:
    return any(counts["num_instances"] for counts in splits.values())


def _sizes(sizes: Mapping[str, int]) -> str:
    common = sorted(sizes.items(), key=lambda size: -size[1])
    more = f", {len(common) - SIZES} more sizes" if len(common) > SIZES else ""
    return ", ".join(f"{size}: {count}" for size, count in common[:SIZES]) + more
