"""Each family of networks on a few real images, through all stages: the loss falls, and figures, tables and predictions are there."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from plans import settled
from real_sets import DATA
from watched import own_scratch

from seg.configure.config import checked
from seg.data.store import read_info
from seg.stages import augment, evaluate, prepare, train

PANOPTIC = DATA / "format_samples/coco128"
SEGMENTS = "panoptic_segmentation/annotations/panoptic_train2017"
FEW = ["runtime.progress=none", "runtime.workers=0", "trainer.batch_size=2", "trainer.max_epochs=3", "trainer.epoch_steps=10"]
CPU = ["trainer.accelerator=cpu", "evaluate.batch_size=2", "evaluate.bootstrap.resamples=20", "evaluate.num_overlays=1"]
ADAMW = ["optimizer=adamw", "optimizer.lr=1e-3"]


def nuclei(folder: Path) -> list[str]:
    """Twelve fields of view of 256 x 256 pixels, linked."""
    with open(DATA / "dsb2018_nuclei/index.csv", newline="") as file:
        names = [row["image_id"] for row in csv.DictReader(file) if row["width"] == row["height"] == "256"][:12]
    (folder / "stage1_train").mkdir(parents=True)
    for name in names:
        (folder / "stage1_train" / name).symlink_to(DATA / "dsb2018_nuclei/stage1_train" / name)
    return ["data=dsb2018", f"data.root={folder}"]


def streets(folder: Path) -> list[str]:
    """The first frames of each split, linked."""
    for split, count in (("train", 8), ("val", 2), ("test", 2)):
        for kind in (split, f"{split}annot"):
            (folder / kind).mkdir(parents=True)
            for path in sorted((DATA / "camvid" / kind).iterdir())[:count]:
                (folder / kind / path.name).symlink_to(path)
    return ["data=camvid", f"data.root={folder}"]


def photographs(_: Path) -> list[str]:
    """Eight of COCO's, with 133 classes of things and stuff."""
    source = [f"data.source.annotations={SEGMENTS}.json", f"data.source.masks={SEGMENTS}", "data.source.images=images/train2017"]
    return ["data=coco_panoptic", f"data.root={PANOPTIC}", "data.split.seed=3", *source]


SMALL = ["model.network.encoder_name=tu-test_resnet"]
CASES = {
    "boxes": (nuclei, "dsb2018_nuclei", ["task=detection", "model=faster_rcnn_small", *SMALL], "box_ap"),
    "boxes with BiFPN": (nuclei, "dsb2018_nuclei", ["task=detection", "model=efficientdet_small", *SMALL, *ADAMW], "box_ap"),
    "masks of prototypes": (nuclei, "dsb2018_nuclei", ["task=instance", "model=yolo_seg", *SMALL, *ADAMW], "mask_ap"),
    "masks of queries": (nuclei, "dsb2018_nuclei", ["task=instance", "model=eomt_small", "model.scale=0.5", *ADAMW], "mask_ap"),
    "classes of queries": (streets, "camvid", ["task=semantic", "model=mask2former_small", "model.scale=0.5", *ADAMW], "miou"),
    "segments": (
        photographs,
        "format_samples",
        ["task=panoptic", "model=panoptic_fpn_small", "model.scale=[96,128]", *SMALL, "trainer.epoch_steps=6"],
        "pq_stuff",
    ),
}


@pytest.mark.real
@pytest.mark.parametrize("case", CASES)
def test_a_family_learns_a_real_set(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, place, overrides, figure = CASES[case]
    if not (DATA / place).is_dir():
        pytest.skip(f"the images do not lie in {DATA / place}")
    own_scratch(tmp_path, monkeypatch)
    paths = [f"paths.{stage}={tmp_path / stage}" for stage in ("prepare", "augment", "train")]
    cfg = checked(settled(*make(tmp_path / "raw"), *FEW, *CPU, *overrides, *paths, f"logger.folder={tmp_path / 'logs'}"))
    for stage in (prepare, augment, train, evaluate):
        stage.run(cfg, tmp_path / stage.__name__.rpartition(".")[2])
    with open(tmp_path / "train/history.csv", newline="") as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 3
    assert losses[-1] < 0.9 * losses[0], losses
    out = tmp_path / "evaluate"
    figures = json.loads((out / "metrics.json").read_text())["test"]
    assert np.isfinite(figures[figure])
    assert figures["num_images"] == read_info(tmp_path / "prepare").splits["test"]["num_images"]
    assert any((out / "tables").glob("*.csv"))
    assert any((out / "predictions").iterdir())
    assert any(out.glob("*.html"))
