"""The settings that tests train with, in place of those that a plan would choose on the machine at hand: the shapes' own, tuned by hand."""

from pathlib import Path

from composed import composed

from seg.settings.planned import PlanFile, open_keys, params_of
from seg.settings.section import Params

SHARED = {
    "augment": "light",
    "optimizer": "sgd",
    "scheduler": "onecycle",
    "trainer.epoch_steps": "null",
    "evaluate.batch_size": "8",
    "augment.crop": "null",
    "model.window": "null",
}
SEMANTIC = SHARED | {"model": "unet_small", "loss": "ce", "trainer.batch_size": "8", "trainer.max_epochs": "6"}
INSTANCE = SHARED | {
    "model": "mask_rcnn_small",
    "loss": "mask_rcnn",
    "trainer.batch_size": "4",
    "trainer.max_epochs": "5",
    "task.metrics.max_detections": "100",
    "task.monitor": "mask_ap",
    "optimizer.lr": "0.02",
}
PANOPTIC = INSTANCE | {"model": "panoptic_fpn_small", "loss": "panoptic", "task.monitor": "pq"}
MASKS = ("mask2former", "mask2former_small", "eomt", "eomt_small")
DETECTION = INSTANCE | {"model": "faster_rcnn_small", "loss": "detection", "task.monitor": "box_ap"}


def pinned(overrides: list[str]) -> list[str]:
    """`overrides` behind those that leave nothing to plan; an experiment has its own."""
    named = {override.lstrip("+~").partition("=")[0] for override in overrides}
    if "experiment" in named:
        return overrides
    task = next((o for o in overrides if o.startswith("task=")), "")
    values = {"task=instance": INSTANCE, "task=detection": DETECTION, "task=panoptic": PANOPTIC}.get(task, SEMANTIC)
    if any(override in (f"model={name}" for name in MASKS) for override in overrides):
        values = values | {"loss": "masks"}
    for model, loss in (("distance", "distance"), ("yolo_seg", "prototypes")):
        values = values | {"loss": loss} if f"model={model}" in overrides else values
    return [
        f"{key}={value}" for key, value in values.items() if key not in named and not (key == "optimizer.lr" and "optimizer" in named)
    ] + overrides


def fixed(params: Params) -> Params:
    """`params` with a value for each that an experiment leaves open."""
    values = {
        "plan.minutes": 1.0,
        "plan.pretrained": False,
        "evaluate.batch_size": 8,
        "trainer.epoch_steps": None,
        "augment.crop": None,
        "model.window": None,
    }
    content: Params = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        content.setdefault(section, {})[name] = value
    planned = params_of(params, [k for k in open_keys(params) if k in values], PlanFile({}, content, dict.fromkeys(values, "by hand")))
    planned.pop("planned")
    return planned


def settled(*overrides: str) -> Params:
    """conf/ composed with overrides, with nothing left to plan."""
    return fixed(composed(*pinned(list(overrides))))


def pin(project: Path) -> None:
    """Write the same settings into a project's conf/, so that its plan has nothing to choose; with smaller detectors and fewer draws."""
    task_models = {"instance": "mask_rcnn_small", "detection": "faster_rcnn_small", "panoptic": "panoptic_fpn_small"}
    losses = {"instance": "mask_rcnn", "detection": "detection", "panoptic": "panoptic"}
    changes = {
        "conf/config.yaml": [
            (f"  - {group}: auto\n", f"  - {group}: {SEMANTIC[group]}\n")
            for group in ("augment", "model", "loss", "optimizer", "scheduler")
        ]
        + [("window: auto", "window: null"), ("crop: auto", "crop: null")],
        "conf/trainer/auto.yaml": [
            ("batch_size: auto", "batch_size: 8"),
            ("max_epochs: auto", "max_epochs: 6"),
            ("epoch_steps: auto", "epoch_steps: null"),
        ],
        "conf/evaluate/default.yaml": [("batch_size: auto", "batch_size: 8"), ("resamples: 1000", "resamples: 50")],
        **{
            f"conf/model/{model}.yaml": [
                ("encoder_name: resnet18", "encoder_name: tu-test_resnet"),
                ("rpn_post_nms_top_n: [300, 150]", "rpn_post_nms_top_n: [50, 20]"),
                ("detections_per_img: 100", "detections_per_img: 20"),
            ]
            for model in task_models.values()
        },
        **{
            f"conf/task/{task}.yaml": [
                ("task:\n", f"defaults:\n  - override /model: {model}\n  - override /loss: {losses[task]}\ntask:\n"),
                ("max_detections: auto", "max_detections: 100"),
                ("plots:", "trainer:\n  batch_size: 4\n  max_epochs: 5\noptimizer:\n  lr: 0.02\nplots:"),
            ]
            for task, model in task_models.items()
        },
    }
    for name, pairs in changes.items():
        text = (project / name).read_text()
        for old, new in pairs:
            assert old in text, f"{name} does not hold {old!r}"
            text = text.replace(old, new, 1)
        (project / name).write_text(text)
