"""model_card.md: what a model is for, how good it is, and where it fails (Mitchell et al. 2019, https://arxiv.org/abs/1810.03993)."""

import math
from pathlib import Path

from seg.metrics.bootstrap import few_images
from seg.report.page_of_evaluation import Evaluated
from seg.report.rendering import write_page

COLUMNS = 4  # figures of each class
WORST = 5  # images


def write_card(path: Path, found: Evaluated) -> None:
    """The card of an evaluated model. It has no time and no place, so that the same evaluation gives the same bytes."""
    rows = [{"class": name, **row} for name, row in found.per_class.items()]
    known = [row for row in rows if not all(value != value for key, value in row.items() if key != "class")]
    columns = [key for key in rows[0] if key != "class"][:COLUMNS]
    monitor, groups = found.run.monitor, list(found.tables.get("groups", ()))
    figures = found.tables["figures"]
    write_page(
        path,
        "report/model_card.md.j2",
        run=found.run,
        info=found.info,
        settings=found.settings,
        names=[c.name for c in found.info.classes],
        licence=(found.run.settings.get("data") or {}).get("licence"),
        count=len(found.images),
        warned=few_images(len(found.images)),
        figures=figures,
        by=columns[0],
        columns=columns,
        classes=sorted(known, key=lambda row: (math.isnan(row[columns[0]]), row[columns[0]])),
        absent=[row["class"] for row in rows if row not in known],
        groups=sorted(groups, key=lambda row: (math.isnan(row[monitor]), row[monitor])),
        worst=sorted((s for s in found.images if not math.isnan(s.score)), key=lambda s: s.score)[:WORST],
        calibration=next((row["value"] for row in figures if row["figure"] == "expected_calibration_error"), None),
    )
