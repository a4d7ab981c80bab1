"""`divide`: prepared data -> data/folds: a view of the data for each fold, which is its validation split, and folds.csv."""

import csv
from pathlib import Path

import numpy as np

from seg.core.errors import ConfigError, plural
from seg.core.outputs import replaced_folder
from seg.data.store import read_info
from seg.plan.settings import MOST_FOLDS, PlanSettings
from seg.prepare.folds import folds_of, measured, write_view
from seg.runtime.settings import Paths
from seg.settings.section import Sections
from seg.sources.settings import Split

TABLE = "folds.csv"


class Settings(Sections):
    MADE = ("data",)
    plan: PlanSettings
    paths: Paths


def run(cfg: Settings, out: Path) -> None:
    folds, prepared = cfg.plan.folds, Path(cfg.paths.prepare)
    if folds is None:
        raise ConfigError("plan.folds=null: there are no folds to divide the images into; set plan.folds=5, say")
    info = read_info(prepared)
    if "split" not in info.settings:
        raise ConfigError(f"{prepared}: does not say how its images are divided, which folds go on with; make it by `seg prepare`")
    images = [(split, record) for split in info.in_folds for record in measured(prepared, info, split)]
    test = [("test", record) for record in measured(prepared, info, "test")] if "test" not in info.in_folds else []
    presence = np.array([record.counts.class_pixels[: len(info.classes)] > 0 for _, record in images])
    dealt = folds_of([record.entry for _, record in images], presence, Split.model_validate(info.settings["split"]), folds)
    with replaced_folder(out, (TABLE, *map(str, range(1, MOST_FOLDS + 1)))) as partial:
        for fold in range(1, folds + 1):
            val = [image for image, its in zip(images, dealt, strict=True) if its == fold]
            train = [image for image, its in zip(images, dealt, strict=True) if its != fold]
            write_view(partial / str(fold), prepared, info, {"train": train, "val": val, "test": test})
            print(f"fold {fold}: {plural(len(val), 'image')}, and {len(train)} to learn from")
        with open(partial / TABLE, "w", encoding="utf-8", newline="") as file:
            rows = [(record.entry.image_id, split, fold) for (split, record), fold in zip(images, dealt, strict=True)]
            csv.writer(file, lineterminator="\n").writerows([("image_id", "split", "fold"), *rows])
    kept = f"; the {plural(len(test), 'image')} of test are in none" if test else ", those of test too, as no list or folder names them"
    print(f"{plural(len(images), 'image')} in {folds} folds{kept}")
