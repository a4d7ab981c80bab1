"""Data sets trained by their plan alone, beside the experiments that were tuned by hand, at equal minutes.

    python benchmarks/plan.py --root ../shared/data --sets shapes camvid nuclei isbi --seeds 0 1 2

Each training runs by the stages' own commands in a folder of its own, one after another. The table has the test figures, their mean and
spread over the seeds, the minutes of training, and the scale, crop, network and number of steps that were planned.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import cv2
import numpy as np
import yaml

from seg.data.sample import ClassInfo
from seg.sources.shapes import KINDS, Shapes

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class DataSet:
    """overrides: that name the data and the task. folder: below the folder of real data sets, or `drawn`. tuned: of the experiment tuned by
    hand, with its minutes of training, which the plan gets too; figures: that are shown."""

    overrides: tuple[str, ...]
    folder: str | None
    tuned: tuple[str, ...]
    minutes: float
    figures: tuple[str, ...]


# the split by kind of image, which the experiment has; `nuclei_at_random` has that of `data=dsb2018` itself
INDEX = ("data.split.table={file:index.csv,id:image_id}", "data.split.stratify=kind")
SHAPES, KIND = ("data=shapes", "task=instance"), ("mask_ap", "mask_ap50", "f1_50", "pq", "expected_calibration_error")
FEW = ("data=id_maps", "data.source.images=images", "data.source.masks=masks", "task=instance")
SETS = {
    "shapes": DataSet(("data=shapes",), None, ("experiment=shapes",), 2, ("miou",)),
    "shapes_instance": DataSet(("data=shapes", "task=instance"), None, ("experiment=shapes_instance",), 7, ("mask_ap", "mask_ap50")),
    "camvid": DataSet(("data=camvid",), "camvid", ("experiment=camvid",), 22, ("miou",)),
    "nuclei": DataSet(("data=dsb2018", "task=instance", *INDEX), "dsb2018_nuclei", ("experiment=nuclei",), 15, ("f1_50", "mask_ap50")),
    "nuclei_at_random": DataSet(("data=dsb2018", "task=instance"), "dsb2018_nuclei", (), 15, ("f1_50", "mask_ap50", "pq")),
    # the two kinds of model of instances at equal minutes; the last two see objects that are 3 pixels wide
    "shapes_by_regions": DataSet((*SHAPES, "model=mask_rcnn_small"), None, (), 5, KIND),
    "shapes_by_distance": DataSet((*SHAPES, "model=distance"), None, (), 5, KIND),
    "small_shapes_by_regions": DataSet((*SHAPES, "data.source.size=32", "model=mask_rcnn_small"), None, (), 5, KIND),
    "small_shapes_by_distance": DataSet((*SHAPES, "data.source.size=32", "model=distance"), None, (), 5, KIND),
    "few_shapes_by_regions": DataSet((*FEW, "model=mask_rcnn_small"), "drawn", (), 5, KIND),
    "few_shapes_by_distance": DataSet((*FEW, "model=distance"), "drawn", (), 5, KIND),
    "isbi": DataSet(("data=isbi2012",), "isbi2012_em", (), 15, ("miou",)),
}


def draw(folder: Path) -> Path:
    """600 images of few large objects, as a folder of images and of id maps: the middles of scenes of 288 x 288, 128 pixels wide."""
    if not folder.exists():
        source = Shapes(600, 288, 7, [ClassInfo(name, (0, 0, 0)) for name in ("background", *KINDS)])
        for place in ("images", "masks"):
            (folder / place).mkdir(parents=True)
        for item in source.items():
            sample, middle = source.read(item).sample, np.s_[80:208, 80:208]
            top = sample.instances.max(axis=2)[middle]
            ids = np.unique(top, return_inverse=True)[1].reshape(top.shape) + int(top.all())
            cv2.imwrite(str(folder / f"images/{item.image_id}.png"), sample.image[middle][..., ::-1])
            cv2.imwrite(str(folder / f"masks/{item.image_id}.png"), ids.astype(np.uint16))
    return folder


def run(folder: Path, stage: str, *overrides: str) -> float:
    """Seconds that a stage took."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "seg", stage, *overrides, f"hydra.run.dir={folder / stage}", "runtime.progress=none"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - started


def trained(folder: Path, given: list[str], prepared: Path) -> tuple[dict[str, Any], float, dict[str, Any]]:
    """Test figures, minutes of training, and the plan, of one training with these overrides."""
    paths = [f"paths.{name}={folder / name}" for name in ("plan", "augment", "train")]
    own = [*given, f"paths.prepare={prepared}", *paths]
    for stage in ("plan", "augment"):
        run(folder, stage, *own)
    took = run(folder, "train", *own) / 60
    run(folder, "evaluate", *own)
    metrics = json.loads((folder / "evaluate/metrics.json").read_text())
    return metrics["test"], took, yaml.safe_load((folder / "plan/plan.yaml").read_text())


def told(plan: dict[str, Any]) -> str:
    """What was planned, in a few words."""
    model, crop = plan["model"], (plan["augment"] or {}).get("crop")
    if "network" not in model:
        return "by hand"
    trainer, seen = plan["trainer"], "whole" if not crop else "x".join(map(str, crop["size"]))
    return (
        f"{model['name']}, scale {model['scale']}, {seen}, {trainer['epoch_steps'] * trainer['max_epochs']} steps, {trainer['precision']}"
    )


def main() -> None:
    """Train, and print a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="the folder that holds the real data sets")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark_plan"))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--tuned", action="store_true", help="train the experiments that were tuned by hand, too")
    parser.add_argument("--minutes", type=float, help="of each training, in place of the experiment's own")
    given = parser.parse_args()
    print("| data | settings | " + "figures (mean ± spread over seeds) | minutes | planned |\n|---|---|---|---|---|")
    for name in given.sets:
        one = SETS[name]
        place = draw(given.out.resolve() / "drawn") if one.folder == "drawn" else given.root / (one.folder or "")
        root = [f"data.root={place.resolve()}"] if one.folder else []
        folder = (given.out / name).resolve()
        if not (folder / "prepare/dataset.json").exists():
            run(folder, "prepare", *one.overrides, *root)
        kinds = {"plan": [*one.overrides, *root, f"plan.minutes={given.minutes or one.minutes}", "plan.pretrained=false"]}
        if given.tuned and one.tuned:
            kinds["by hand"] = [*one.tuned, *root]
        for kind, overrides in kinds.items():
            found = [trained(folder / f"{kind.replace(' ', '_')}_{s}", [*overrides, f"seed={s}"], folder / "prepare") for s in given.seeds]
            shown = [
                f"{figure} {mean(f[figure] for f, _, _ in found):.3f} ± {pstdev(f[figure] for f, _, _ in found):.3f}"
                for figure in one.figures
            ]
            minutes = mean(took for _, took, _ in found)
            print(f"| {name} | {kind} | {', '.join(shown)} | {minutes:.1f} | {told(found[0][2])} |", flush=True)


if __name__ == "__main__":
    main()
