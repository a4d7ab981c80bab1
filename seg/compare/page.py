"""compare.html: two or more evaluations side by side on one page, in one file that needs no network."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seg.compare.comparison import Comparison, ImageScores, sentence, signed
from seg.compare.gallery import compared_gallery
from seg.core.errors import plural
from seg.metrics.bootstrap import few_images
from seg.report.charts import scatter_chart
from seg.report.rendering import write_page

LISTED = 100  # images in the table of images; per_image.csv has all


def write_comparison(path: Path, comparison: Comparison) -> None:
    figures = list(dict.fromkeys(figure for row in comparison.per_class[0].values() for figure in row))
    scatters = [_scatter(comparison, place, run) for place, run in comparison.others if _known(comparison, place)]
    gallery = compared_gallery(comparison)
    sections = {
        "summary": ("Summary", True),
        "settings": ("Settings that differ", True),
        "classes": ("Classes", figures),
        "images": ("Images", scatters),
        "gallery": ("Where they differ most", gallery),
    }
    apart = sorted((i for i in comparison.images if math.isfinite(i.largest)), key=lambda i: (-abs(i.largest), i.image_id))
    write_page(
        path,
        "compare/compare.html.j2",
        title=comparison.title,
        sections=sections,
        comparison=comparison,
        warned=few_images(len(comparison.images)),
        class_rows=[_class_rows(comparison, figure) for figure in figures],
        colors={info.name: info.color for info in comparison.classes},
        scatters=scatters,
        listed=apart[:LISTED],
        count=len(apart),
        gallery=gallery,
        sentence=sentence,
        signed=signed,
        shown=_shown,
        reach_of=_reach,
    )


def _reach(values: Sequence[float]) -> float:
    """How far a scale around 0 goes to either side."""
    return max((abs(v) for v in values if math.isfinite(v)), default=0.0) or 1.0


def _shown(value: Any) -> str:
    """A setting as its file has it."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _class_rows(comparison: Comparison, figure: str) -> dict[str, Any]:
    """A figure of the classes: (class, its value in each run, each further run's less the first's), the largest gain of the second run
    first. reach: of the differences' scale."""
    rows = []
    for name in comparison.per_class[0]:
        first, *others = (per_class[name][figure] for per_class in comparison.per_class)
        rows.append((name, [first, *others], [value - first for value in others]))
    rows.sort(key=lambda row: (math.isnan(row[2][0]), -row[2][0]))
    return {"figure": figure, "rows": rows, "reach": _reach([d for _, _, differences in rows for d in differences])}


def _known(comparison: Comparison, place: int) -> list[ImageScores]:
    """The images that have a score in a run and in the first."""
    return [image for image in comparison.images if math.isfinite(image.difference(place))]


def _scatter(comparison: Comparison, place: int, run: str) -> dict[str, Any]:
    """Each image's score in a run over that in the first. without: how many images have no score in one of the two."""
    first, name, known = comparison.runs[0], comparison.score_name, _known(comparison, place)
    above, below = (sum(sign * image.difference(place) > 0 for image in known) for sign in (1, -1))
    said = f"{run} is better in {above}, worse in {below} and equal in {len(known) - above - below} of {plural(len(known), 'image')}"
    dots = [(i.scores[0], i.scores[place], f"{i.image_id}: {i.scores[0]:.4g}, {i.scores[place]:.4g}") for i in known]
    chart = scatter_chart(f"{name} of each image: {said}", f"{name}, {first}", f"{name}, {run}", dots)
    return {"run": run, "chart": chart, "said": said, "without": len(comparison.images) - len(known)}
