"""No rule may write what `train` refuses: the values for drawn facts are taken as the settings that they are."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, MakeConfig
from planned_facts import FREE, UNKNOWN, UPRIGHT, facts, objects

from seg.augment.policy import compile_policy
from seg.augment.settings import Augment
from seg.configure.compose import compose
from seg.configure.config import check_signatures, checked
from seg.core.environment import conf_folder
from seg.data.sample import Sample
from seg.plan.facts import Draft, PlanFacts
from seg.plan.rules import augmentation, families, learning, length, networks, view
from seg.plan.rules.length import Cost
from seg.settings.planned import OF_NETWORK, open_keys
from seg.settings.section import Params
from seg.training.settings import TrainingSettings

TASKS = ("semantic", "instance", "detection", "panoptic")


@pytest.fixture(scope="module")
def composed() -> dict[str, Params]:
    return {task: compose(conf_folder(ROOT), [f"task={task}"])[0] for task in TASKS}


def random_facts(rng: np.random.Generator) -> PlanFacts:
    """Anything that may be: one image or a million, of 1 to 30,000 pixels a side, of one class or many, with objects or without."""
    task = TASKS[int(rng.integers(3))]
    classes = int(rng.integers(1, 20))
    shares = rng.dirichlet(np.full(classes, 0.3))
    shares[rng.random(classes) < 0.2] = 0.0
    sides = [np.sort(np.exp(rng.uniform(0, np.log(30_000), 3)).astype(int)).tolist() for _ in range(2)]
    channels = int(rng.integers(1, 6))
    found = tuple(np.sort(np.exp(rng.uniform(0, 7, 8))).tolist())
    directions = [FREE, UPRIGHT, UNKNOWN]
    return facts(
        task=task,
        classes=[f"c{n}" for n in range(classes)],
        channels=channels,
        colour=channels == 3 and bool(rng.integers(2)),
        images=int(np.exp(rng.uniform(0, 14))),
        validation_images=int(np.exp(rng.uniform(0, 10))) - 1,
        height=dict(zip(("min", "median", "max"), sides[0], strict=True)),
        width=dict(zip(("min", "median", "max"), sides[1], strict=True)),
        shares=shares.tolist(),
        widths={f"c{n}": float(np.exp(rng.uniform(0, 6))) for n in range(classes) if rng.random() < 0.8},
        objects=objects(int(rng.integers(1, 5000)), int(rng.integers(1, 900)), found, float(np.exp(rng.normal())))
        if task != "semantic"
        else None,
        directions={name: directions[int(rng.integers(3))] for name in ("left_right", "up_down", "turned")},
        device=("cpu", "cuda", "mps")[int(rng.integers(3))],
        drawn=bool(rng.random() < 0.1),
    )


def plan(known: PlanFacts, params: Params, rng: np.random.Generator) -> Draft:
    """What the planner does, with a drawn network and a drawn cost in place of measured ones."""
    draft = Draft(params, open_keys(params))
    for rule in (length.minutes, families.adapter, families.monitor, view.scale, length.batch, view.crop):
        draft.take(rule(known, draft))
    for rule in (augmentation.transforms, augmentation.copy_paste, learning.loss):
        draft.take(rule(known, draft))
    offered = networks.candidates(known, draft)
    draft.take(networks.network(known, draft, offered[int(rng.integers(len(offered)))], "drawn"))
    for rule in (networks.anchors, networks.counts, learning.optimizer, learning.schedule):
        draft.take(rule(known, draft))
    cost = Cost(*np.exp(rng.uniform(-7, 4, 3)).tolist())
    draft.take(length.length(known, draft, cost))
    draft.take(length.evaluation(known, draft))
    return draft


@pytest.mark.parametrize("seed", range(30))
def test_values_are_what_training_accepts(seed: int, composed: dict[str, Params]) -> None:
    rng = np.random.default_rng(seed)
    known = random_facts(rng)
    draft = plan(known, composed[known.task], rng)
    left = {"plan.pretrained", "model.weights", "model.normalization", "trainer.precision", "trainer.effective_batch_size"}  # not by rules
    assert draft.open - (set() if families.like(known, draft) == "instance" else set(OF_NETWORK)) <= left
    model = draft.params["model"] | {"weights": None, "normalization": "dataset"}
    params = draft.params | {"model": model, "plan": draft.params["plan"] | {"pretrained": False}}
    cfg = TrainingSettings.of(params)
    Augment.model_validate(params["augment"])
    check_signatures(checked(params))
    assert all(c.reason and not c.reason.endswith(".") and "\n" not in c.reason for c in draft.chosen)

    stride, window, crop = cfg.model.stride, cfg.model.window, params["augment"]["crop"]
    assert (window is None) is (crop is None)
    if crop:
        assert len(crop["size"]) == 2
        assert min(crop["size"]) > 0
        assert window is not None
        assert window % stride == 0
        assert max(2 * stride, *crop["size"]) <= window
    assert cfg.optimizer.arguments["lr"] > 0
    assert cfg.trainer.batch_size <= known.images
    assert cfg.trainer.max_epochs >= cfg.trainer.validate_every
    assert params["evaluate"]["batch_size"] >= 1
    if families.like(known, draft) == "instance":
        sizes = [size for (size,) in cfg.model.network.arguments["anchor_sizes"]]
        assert len(sizes) == 5
        assert all(b > a > 0 for a, b in pairwise(sizes))
        ratios = cfg.model.network.arguments["aspect_ratios"]
        assert ratios == sorted(set(ratios))
        network = cfg.model.network.arguments
        assert network["box_detections_per_img"] <= network["rpn_post_nms_top_n"][1] <= network["rpn_pre_nms_top_n"][1]
        assert network["box_detections_per_img"] == cfg.task.metrics.arguments["max_detections"]


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
def test_transforms_work_on_images_of_any_channels(channels: int, make_config: MakeConfig) -> None:
    """Each for sure: with p=1. A small set has them all."""
    known = facts(channels=channels, colour=channels == 3, images=10)
    given = Draft({"augment": {"crop": None}}, ["augment.transforms"])
    given.take(augmentation.transforms(known, given))
    transforms: list[dict[str, Any]] = [t | {"p": 1.0} for t in given["augment.transforms"]]
    augment = make_config().augment.model_dump(by_alias=True) | {"transforms": transforms}
    rng = np.random.default_rng(0)
    image, labels = rng.integers(0, 255, (32, 32, channels), dtype=np.uint8), np.zeros((32, 32), np.uint8)
    none = np.zeros((32, 32, 0), np.int32), np.zeros(0, np.int32), np.zeros(0, bool)
    drawn = compile_policy(Augment.model_validate(augment), ["albumentations"])(Sample("one", image, labels, *none), 0)
    assert drawn.image.shape == (32, 32, channels)
    assert (drawn.image != image).any()
