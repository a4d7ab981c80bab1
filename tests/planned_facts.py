"""PlanFacts of a data set and a machine, by hand, and drafts of a configuration: what the rules of a plan are tested with."""

from collections.abc import Callable, Iterator
from typing import Any

from seg.plan.facts import Decision, Draft, Objects, PlanFacts
from seg.plan.orientation import Direction

FREE, UPRIGHT, UNKNOWN = Direction(False, 0.01, True), Direction(True, 0.6, True), Direction(False, 0.0, False)
OPEN = [
    *(
        "plan.minutes",
        "plan.pretrained",
        "task.metrics.max_detections",
        "task.monitor",
        "model.adapter",
        "model.network",
        "model.name",
        "model.stride",
        "model.scale",
    ),
    *("model.window", "model.normalization", "model.weights", "loss", "optimizer", "optimizer.lr", "scheduler", "trainer.precision"),
    *("trainer.batch_size", "trainer.effective_batch_size", "trainer.max_epochs", "trainer.epoch_steps", "augment.crop"),
    *("augment.transforms", "augment.copy_paste.p", "evaluate.batch_size", "model.network.anchor_sizes", "model.network.aspect_ratios"),
    *("model.network.box_detections_per_img", "model.network.rpn_pre_nms_top_n", "model.network.rpn_post_nms_top_n"),
]


def spread(least: float, median: float | None = None, most: float | None = None) -> dict[str, float]:
    """Of one side of the images; all alike where only one number is given."""
    median = least if median is None else median
    return {"min": least, "median": median, "max": median if most is None else most}


def objects(count: int = 400, most: int = 12, side: tuple[float, ...] = (20, 25, 30, 40, 55, 70, 80, 95), tall: float = 1.0) -> Objects:
    """side: percentiles p5, p10, p25, p50, p75, p90, p95, p99. tall: height over width of a median box; half of it is p10, twice is p90."""
    names = ("p5", "p10", "p25", "p50", "p75", "p90", "p95", "p99")
    ratios = (0.4, 0.5, 0.8, 1.0, 1.2, 2.0, 2.2, 2.5)
    return Objects(
        count, most, most / 2, dict(zip(names, side, strict=True)), {name: tall * r for name, r in zip(names, ratios, strict=True)}
    )


def facts(**changed: Any) -> PlanFacts:
    """300 colour images of 256 x 256 of two classes, on a CPU."""
    given: dict[str, Any] = {
        "task": "semantic",
        "classes": ["background", "thing"],
        "channels": 3,
        "colour": True,
        "images": 300,
        "validation_images": 60,
        "test_images": 60,
        "test_drawn": True,
        "height": spread(256),
        "width": spread(256),
        "shares": [0.7, 0.3],
        "widths": {"thing": 20.0},
        "objects": None,
        "directions": dict.fromkeys(("left_right", "up_down", "turned"), FREE),
        "device": "cpu",
        "cores": 2,
        "memory": 8 << 30,
        "drawn": False,
    }
    if changed.get("task") in ("instance", "detection", "panoptic"):
        given["objects"] = objects()
    return PlanFacts(**given | changed)


def draft(open_keys: list[str] | None = None, **values: Any) -> Draft:
    """A draft in which keys (`model__scale=0.5` for model.scale) are set, and the others, or `open_keys`, are open."""
    found = Draft({}, [])
    for key, value in values.items():
        found.open.add(key.replace("__", "."))
        found.take(iter([Decision(key.replace("__", "."), value, "set")]))
    found.chosen.clear()
    found.open = set(OPEN if open_keys is None else open_keys) - {key.replace("__", ".") for key in values}
    return found


def chosen(rule: Callable[..., Iterator[Decision]], *arguments: Any) -> dict[str, Any]:
    """{key: value} that a rule gives."""
    return {choice.key: choice.value for choice in rule(*arguments)}


def reason(rule: Callable[..., Iterator[Decision]], key: str, *arguments: Any) -> str:
    return next(choice.reason for choice in rule(*arguments) if choice.key == key)
