"""Simulated labelling: how the test figure grows with images that `seg next` chooses, beside as many that are drawn at random.

    python benchmarks/next.py --root ../shared/data --sets shapes nuclei camvid --seeds 0 1 2 --minutes 10
    python benchmarks/next.py --sets shapes --steps 250 --first 1500 --overrides data.source.size=64          # small images

Of the training images of a set, `--start` are drawn and count as labelled, the others do not. A model is trained, by the plan. In each
round, `--each` more images get their labels: those that `seg next` chooses with the newest model, or others drawn at random. Then the next
model is trained: from scratch, by the plan, for the same minutes in both arms; or, with `--steps`, from the weights of the first model,
with a fifth of its learning rate. Both arms share the first model. Validation and test images are the set's own. The table has the mean
and spread of the test figure over the seeds; `next.json` in `--out` has all figures and choices.
"""

import argparse
import csv
import json
import os
import random
import shutil
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import yaml
from plan import SETS, run, trained

from seg.data.store import read_info
from seg.stages.divide import measured, write_view
from seg.stages.next import Arguments
from seg.stages.next import run as choose
from seg.storing.write import StoredRecord

FIGURES = {"shapes": "miou", "nuclei": "f1_50", "camvid": "miou"}
Records = dict[str, StoredRecord]


def view(folder: Path, full: Path, records: dict[str, Records], labelled: list[str]) -> Path:
    """A prepared data set whose training images are the labelled ones; the others of train as links in `pool` beside it."""
    shutil.rmtree(folder, ignore_errors=True)
    splits = {split: [(split, record) for record in members.values()] for split, members in records.items()}
    splits["train"] = [("train", records["train"][image_id]) for image_id in sorted(labelled)]
    prepared, pool = folder / "prepare", folder / "pool"
    pool.mkdir(parents=True)
    write_view(prepared, full, read_info(full), splits)
    for image_id in records["train"].keys() - set(labelled):
        file = records["train"][image_id].entry.file
        (pool / file).parent.mkdir(parents=True, exist_ok=True)
        os.link(full / "train/images" / file, pool / file)
    return prepared


def chosen(folder: Path, count: int, coverage: int, names: dict[str, str]) -> list[str]:
    """The images that `seg next` chooses from the pool with the model in a folder. names: {file: image_id}."""
    out, pool = folder / "next", folder / "pool"
    quiet = ["runtime.progress=none"]
    choose(Path.cwd(), Arguments([folder / "train/best.ckpt"], [str(pool)], quiet, out, count, coverage, folder / "prepare"))
    with open(out / "next.csv", newline="") as file:
        return [names[Path(row["image"]).relative_to(pool).as_posix()] for row in csv.DictReader(file)]


def length(steps: int) -> list[str]:
    """Overrides of a training of so many steps."""
    return ["trainer.max_epochs=5", f"trainer.epoch_steps={max(1, steps // 5)}"]


def simulated(name: str, seed: int, given: argparse.Namespace, overrides: list[str]) -> list[dict[str, Any]]:
    """A row a training: arm, round, number of labelled images, the test figure, and which images were added for it."""
    out, full = (given.out / f"{name}_{seed}").resolve(), (given.out / name / "prepare").resolve()
    if not (full / "dataset.json").exists():
        run(full.parent, "prepare", *overrides)
    info = read_info(full)
    records = {split: {r.entry.image_id: r for r in measured(full, info, split)} for split in info.splits}
    names = {record.entry.file: image_id for image_id, record in records["train"].items()}
    rng = random.Random(seed)
    start = rng.sample(sorted(records["train"]), given.start)

    def figure(folder: Path, labelled: list[str]) -> float:
        shutil.rmtree(folder, ignore_errors=True)
        prepared, own = view(folder, full, records, labelled), [*overrides, f"seed={seed}"]
        first = out / "0"
        if not given.steps or folder == first:
            own += length(given.first) if given.steps else []
            return float(trained(folder, own, prepared)[0][FIGURES[name]])
        rate = yaml.safe_load((first / "plan/plan.yaml").read_text())["optimizer"]["lr"] / 5
        own += [
            *length(given.steps),
            f"optimizer.lr={rate}",
            f"model.weights={first / 'train/best.ckpt'}",
            "model.normalization=checkpoint",
        ]
        own += [f"paths.{key}={place}" for key, place in (("prepare", prepared), ("plan", first / "plan"))]
        own += [f"paths.{key}={folder / key}" for key in ("augment", "train")]
        for stage in ("augment", "train", "evaluate"):
            run(folder, stage, *own)
        return float(json.loads((folder / "evaluate/metrics.json").read_text())["test"][FIGURES[name]])

    rows = [{"set": name, "seed": seed, "arm": "both", "round": 0, "labelled": len(start), "added": start}]
    rows[0]["figure"] = figure(out / "0", start)
    for arm in ("random", "next"):
        labelled, folder = list(start), out / "0"
        for number in range(1, given.rounds + 1):
            left = sorted(records["train"].keys() - set(labelled))
            if not (count := min(given.each, len(left))):
                break
            added = rng.sample(left, count) if arm == "random" else chosen(folder, count, given.coverage, names)
            labelled, folder = labelled + added, out / f"{arm}_{number}"
            row = {"set": name, "seed": seed, "arm": arm, "round": number, "labelled": len(labelled), "added": added}
            rows.append(row | {"figure": figure(folder, labelled)})
            print(f"# {name}, seed {seed}, {arm}, {len(labelled)} images: {FIGURES[name]} {rows[-1]['figure']:.3f}", flush=True)
    return rows


def main() -> None:
    """Print a table a set as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="the folder that holds the real data sets")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark_next"))
    parser.add_argument("--sets", nargs="+", choices=FIGURES, default=list(FIGURES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--start", type=int, default=30, help="images that are labelled at first")
    parser.add_argument("--each", type=int, default=20, help="images that get labels in a round")
    parser.add_argument("--coverage", type=int, default=30, help="as seg next takes it, in percent")
    parser.add_argument("--minutes", type=float, default=5, help="of each training")
    parser.add_argument("--steps", type=int, help="of each training but the first, in place of minutes")
    parser.add_argument("--first", type=int, default=1500, help="steps of the first training, where there are steps")
    parser.add_argument("--overrides", nargs="+", default=[], metavar="KEY=VALUE", help="of the settings, the same in both arms")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.sets:
        if SETS[name].folder and not given.root:
            parser.error(f"{name}: name the folder of the real data sets with --root")
        overrides = [*SETS[name].overrides, "plan.pretrained=false", f"plan.minutes={given.minutes}"]
        overrides += [f"data.root={(given.root / str(SETS[name].folder)).resolve()}"] if SETS[name].folder else []
        overrides += given.overrides
        for seed in given.seeds:
            rows += simulated(name, seed, given, overrides)
            (given.out / "next.json").write_text(json.dumps(rows, indent=1) + "\n")
        print(f"\n| {name}: labelled images | random, {FIGURES[name]} | seg next | difference |\n|---:|---:|---:|---:|")
        for number in range(given.rounds + 1):
            here = [row for row in rows if (row["set"], row["round"]) == (name, number)]
            arms = [[row for row in here if row["arm"] in (arm, "both")] for arm in ("random", "next")]
            figures = [[row["figure"] for row in arm] for arm in arms]
            differences = [b - a for a, b in zip(*figures, strict=True)]
            cells = [f"{mean(f):.3f} ± {pstdev(f):.3f}" for f in figures] + [f"{mean(differences):+.3f} ± {pstdev(differences):.3f}"]
            print(f"| {round(mean(row['labelled'] for row in arms[1]))} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
