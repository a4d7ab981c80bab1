"""A data set's splits and classes as tables of a page: images, sizes, and each class's share."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from seg.data.sample import ClassInfo
from seg.report.html import bar, class_name, table

SIZES = 4  # image sizes that are named

Splits = Mapping[str, Mapping[str, Any]]
"""A split's counts by its name, as prepared data keep them: num_images, num_instances, sizes, class_pixels, class_images."""


def split_table(splits: Splits) -> str:
    """A row a split."""
    columns = {"images": "num_images"}
    if has_instances(splits):
        columns["instances"] = "num_instances"
    if any("near_duplicates" in counts for counts in splits.values()):
        columns["images nearly the same as another there"] = "near_duplicates"
    rows = [[name, *(counts[key] for key in columns.values()), _sizes(counts["sizes"])] for name, counts in splits.items()]
    cells = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows]
    return table(["split", *columns, "sizes (height x width)"], cells)


def has_instances(splits: Splits) -> bool:
    """Whether any split has an instance."""
    return any(counts["num_instances"] for counts in splits.values())


def class_table(splits: Splits, classes: Sequence[ClassInfo]) -> str:
    """A row a class: its share of each split's labelled pixels as a bar, and in how many images it is."""
    totals = {name: max(1, sum(counts["class_pixels"])) for name, counts in splits.items()}
    rows = []
    for index, info in enumerate(classes):
        if len(classes) > 2 and not any(counts["class_images"][index] for counts in splits.values()):
            continue
        rows.append(f'<th scope="row" class="class">{class_name(info.name, info.color)}</th>{"".join(_bars(splits, totals, index))}')
    absent = len(classes) - len(rows)
    left_out = f"<p>Without a pixel, and not listed: {absent} of {len(classes)} classes.</p>" if absent else ""
    return table(["class", *(f"{name}: share of labelled pixels, images" for name in splits)], rows) + left_out


def _sizes(sizes: Mapping[str, int]) -> str:
    common = sorted(sizes.items(), key=lambda entry: -entry[1])
    more = f", {len(common) - SIZES} more sizes" if len(common) > SIZES else ""
    return ", ".join(f"{size}: {count}" for size, count in common[:SIZES]) + more


def _bars(splits: Splits, totals: Mapping[str, int], index: int) -> Iterator[str]:
    for name, counts in splits.items():
        share = counts["class_pixels"][index] / totals[name]
        yield f'<td>{bar(share)}<span class="number">{100 * share:.3g} %, {counts["class_images"][index]}</span></td>'
