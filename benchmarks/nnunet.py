"""Our plan against nnU-Net's (Isensee et al. 2021), each with no setting but the data set: same images, splits, minutes and cores.

    python -m venv outputs/nnunet_env && outputs/nnunet_env/bin/pip install nnunetv2
    python benchmarks/nnunet.py --root ../shared/data --python outputs/nnunet_env/bin/python --minutes 10

nnU-Net plans and trains its 2D configuration. Its epochs have 10 steps and 2 of validation, and its rate falls to 0 at the end of the
minutes, as it does at the end of its 1000 epochs of 250. Its predictions average mirrored images, as they do by default. Both trainings
have the minutes for their steps; reading, planning and predicting come on top. The same code counts both test figures, over all pixels.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from plan import SETS, run, trained

from seg.data.sample import IGNORE
from seg.data.store import read_entries, read_info, read_sample
from seg.metrics.semantic import mean_iou

OVERRIDES = {"camvid": SETS["camvid"].overrides, "isbi": SETS["isbi"].overrides, "nuclei": ("data=dsb2018", *SETS["nuclei"].overrides[2:])}
ID, NAME = "001", "Dataset001_ours"
TRAINER = """
import os, time
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

class Over(Exception):
    pass

class nnUNetTrainerMinutes(nnUNetTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 10, 2
        self.num_epochs = self.save_every = 10**6

    def share(self):
        return min(1, (time.perf_counter() - self.began) / (60 * float(os.environ["MINUTES"])))

    def on_train_epoch_start(self):
        if not hasattr(self, "began"):
            self.began = time.perf_counter()
        super().on_train_epoch_start()
        for group in self.optimizer.param_groups:
            group["lr"] = self.initial_lr * (1 - self.share()) ** 0.9

    def on_epoch_end(self):
        super().on_epoch_end()
        if self.share() == 1:
            raise Over

    def run_training(self):
        try:
            super().run_training()
        except Over:
            print("STEPS", self.current_epoch * self.num_iterations_per_epoch)
            self.on_train_end()
"""
TRAIN = f"""
import torch
from nnunetv2.run.run_training import get_trainer_from_args
if __name__ == "__main__":
    get_trainer_from_args("{ID}", "2d", 0, "nnUNetTrainerMinutes", device=torch.device("cpu")).run_training()
"""


def written(prepared: Path, raw: Path) -> None:
    """The prepared data set as nnU-Net has it: training and validation images in imagesTr, test images in imagesTs, and its splits."""
    info = read_info(prepared)
    folders = {"train": ("imagesTr", "labelsTr"), "val": ("imagesTr", "labelsTr"), "test": ("imagesTs", "labelsTs")}
    names: dict[str, list[str]] = {split: [] for split in folders}
    ignored = False
    for split, (images, labels) in folders.items():
        for folder in (images, labels):
            (raw / folder).mkdir(parents=True, exist_ok=True)
        for number, entry in enumerate(read_entries(prepared / split)):
            sample, name = read_sample(prepared / split, entry, info.channels), f"{split}{number:04d}"
            image = sample.image[..., 0] if info.channels == 1 else cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR)
            label = np.where(sample.semantic == IGNORE, len(info.classes), sample.semantic).astype(np.uint8)
            ignored |= bool((sample.semantic == IGNORE).any())
            cv2.imwrite(str(raw / images / f"{name}_0000.png"), image)
            cv2.imwrite(str(raw / labels / f"{name}.png"), label)
            names[split].append(name)
    classes = {"background": 0} | {c.name: index for index, c in enumerate(info.classes) if index}
    content = {
        "channel_names": {str(c): f"channel {c}" for c in range(info.channels)},  # normalised image by image, as by default
        "labels": classes | ({"ignore": len(info.classes)} if ignored else {}),
        "numTraining": len(names["train"]) + len(names["val"]),
        "file_ending": ".png",
    }
    (raw / "dataset.json").write_text(json.dumps(content))
    (raw / "splits.json").write_text(json.dumps([{"train": names["train"], "val": names["val"]}]))


def theirs(python: Path, folder: Path, prepared: Path, minutes: float) -> tuple[float, float, str]:
    """mIoU of the test split, minutes of training, and what was trained."""
    raw = folder / "raw" / NAME
    shutil.rmtree(folder, ignore_errors=True)
    written(prepared, raw)
    (folder / "trainer").mkdir()
    (folder / "trainer/nnUNetTrainerMinutes.py").write_text(TRAINER)
    (folder / "train.py").write_text(TRAIN)
    own = {"nnUNet_raw": "raw", "nnUNet_preprocessed": "preprocessed", "nnUNet_results": "results", "nnUNet_extTrainer": "trainer"}
    environment = os.environ | {name: str(folder / place) for name, place in own.items()} | {"MINUTES": str(minutes)}
    environment |= {"nnUNet_n_proc_DA": "2", "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}

    def call(*command: str) -> str:
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
        return done.stdout

    call("nnUNetv2_plan_and_preprocess", "-d", ID, "-c", "2d", "-np", "2", "-npfp", "2")
    shutil.copy(raw / "splits.json", folder / "preprocessed" / NAME / "splits_final.json")
    started = time.perf_counter()
    printed = call(str(python), str(folder / "train.py"))
    took = (time.perf_counter() - started) / 60
    options = ["-d", ID, "-c", "2d", "-f", "0", "-tr", "nnUNetTrainerMinutes", "-device", "cpu", "-npp", "1", "-nps", "1"]
    call("nnUNetv2_predict", "-i", str(raw / "imagesTs"), "-o", str(folder / "predicted"), *options)
    plans = json.loads((folder / "preprocessed" / NAME / "nnUNetPlans.json").read_text())["configurations"]["2d"]
    steps = next(line.split()[1] for line in printed.splitlines() if line.startswith("STEPS"))
    told = f"patches of {'x'.join(map(str, plans['patch_size']))}, {plans['batch_size']} a step, {steps} steps"
    pairs = [(raw / "labelsTs" / p.name, p) for p in sorted((folder / "predicted").glob("*.png"))]
    return figure(pairs, len(read_info(prepared).classes)), took, told


def figure(pairs: Sequence[tuple[Path, Path]], classes: int) -> float:
    """mIoU over the pixels of all pairs of files, true and predicted; labels from `classes` on are ignored."""
    counts = np.zeros((classes, classes), np.int64)
    for truth, predicted in pairs:
        true, found = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (truth, predicted))
        counted = true < classes
        np.add.at(counts, (true[counted], found[counted]), 1)
    right, true, found = np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0)
    return float(mean_iou(np.stack([right, true, found]).astype(float)))


def main() -> None:
    """Train both on each set, and print a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="the folder that holds the real data sets")
    parser.add_argument("--python", type=Path, required=True, help="of the environment in which nnunetv2 is installed")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--sets", nargs="+", choices=OVERRIDES, default=list(OVERRIDES))
    parser.add_argument("--seed", type=int, default=0, help="of our training; nnU-Net's draws have none")
    parser.add_argument("--out", type=Path, default=Path("outputs/nnunet"))
    given = parser.parse_args()
    print("| data | ours, mIoU | nnU-Net, mIoU | ours | nnU-Net | minutes, ours | nnU-Net |\n|---|---:|---:|---|---|---:|---:|")
    for name in given.sets:
        folder = (given.out / name).resolve()
        overrides = [*OVERRIDES[name], f"data.root={(given.root / str(SETS[name].folder)).resolve()}"]
        if not (folder / "prepare/dataset.json").exists():
            run(folder, "prepare", *overrides)
        own = [*overrides, f"plan.minutes={given.minutes}", "plan.pretrained=false", f"seed={given.seed}"]
        figures, took, plan = trained(folder / "ours", own, folder / "prepare")
        steps = plan["trainer"]["epoch_steps"] * plan["trainer"]["max_epochs"]
        other, other_took, told = theirs(given.python.absolute(), folder / "nnunet", folder / "prepare", given.minutes)
        ours = f"{plan['model']['name']}, scale {plan['model']['scale']}, {steps} steps"
        print(f"| {name} | {figures['miou']:.3f} | {other:.3f} | {ours} | {told} | {took:.1f} | {other_took:.1f} |", flush=True)


if __name__ == "__main__":
    main()
