"""Loss, optimizer, rate, schedule."""

from typing import Any

import pytest
from planned_facts import chosen, draft, facts, objects, reason

from seg.plan.rules.learning import loss, optimizer, schedule


@pytest.mark.parametrize(
    ("shares", "name", "said"),
    [
        ([0.7, 0.3], "ce", "cross-entropy: the rarest class, thing, has 30.0% of the pixels"),
        ([0.95, 0.05], "ce", "thing, has 5.0%"),
        ([0.951, 0.049], "ce_dice", "thing has only 4.9% of the pixels"),
        ([1.0, 0.0], "ce", "background, has 100.0%"),  # a class that never occurs is no reason
        ([0.0, 0.0], "ce", "no pixel of the training images has a class"),
    ],
    ids=str,
)
def test_rare_classes_are_learned_with_dice(shares: list[float], name: str, said: str) -> None:
    known = facts(shares=shares)
    found = chosen(loss, known, draft())["loss"]
    assert found["name"] == name
    assert said in reason(loss, "loss", known, draft())
    assert list(found.get("terms", {})) == (["ce", "dice"] if name == "ce_dice" else [])


def test_instances_have_the_network_s_own_terms() -> None:
    found = chosen(loss, facts(task="instance", shares=[0.999, 0.001], objects=objects()), draft())["loss"]
    assert (found["name"], found["mask"], found["rpn_box"]) == ("mask_rcnn", 1.0, 1.0)


@pytest.mark.parametrize(
    ("task", "images", "effective", "weights", "lr"),
    [
        ("semantic", 8, None, None, 0.2),
        ("semantic", 16, None, None, 0.4),
        ("semantic", 3, None, None, 0.075),
        ("semantic", 4, 32, None, 0.8),
        ("semantic", 8, None, "imagenet", 0.05),
        ("instance", 4, None, None, 0.03),
        ("instance", 1, None, "weights/resnet18.pt", 0.0019),
    ],
)
def test_rate_grows_with_the_images_of_a_step(task: str, images: int, effective: Any, weights: Any, lr: float) -> None:
    given = draft(trainer__batch_size=images, trainer__effective_batch_size=effective, model__weights=weights)
    given.take(optimizer(facts(task=task), given))
    assert given["optimizer.lr"] == lr
    assert given["optimizer"] == {
        "name": "sgd",
        "_target_": "torch.optim.SGD",
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "nesterov": True,
        "fused": "auto",
        "lr": lr,
    }


def test_rate_of_the_example_is_for_its_smaller_steps() -> None:
    for images, lr in ((4, 0.3), (8, 0.6)):
        given = draft(trainer__batch_size=images, model__weights=None)
        given.take(optimizer(facts(drawn=True), given))
        assert given["optimizer.lr"] == lr


@pytest.mark.parametrize(
    ("scale_lr", "reference", "lr"),
    [
        ("none", None, 0.8),  # 32 images a step on four devices
        ("linear", 16, 0.4),  # for 16 images; the training makes 0.8 of it
        ("sqrt", 8, 0.2),
    ],
)
def test_rate_of_several_devices(scale_lr: str, reference: int | None, lr: float) -> None:
    given = draft(trainer__batch_size=8, model__weights=None, trainer__scale_lr=scale_lr, trainer__reference_batch_size=reference)
    given.take(optimizer(facts(devices=4), given))
    assert given["optimizer.lr"] == lr


def test_a_rate_that_a_person_set_stays() -> None:
    given = draft(["optimizer"], trainer__batch_size=8, optimizer={"name": "auto", "_target_": "auto", "lr": 0.7})
    given.open.add("optimizer")
    given.take(optimizer(facts(), given))
    assert (given["optimizer._target_"], given["optimizer.lr"]) == ("torch.optim.SGD", 0.7)
    assert [c.key for c in given.chosen] == ["optimizer"]


def test_no_rate_is_known_for_another_optimizer() -> None:
    given = draft(["optimizer.lr"], trainer__batch_size=8, optimizer={"name": "adamw", "_target_": "torch.optim.AdamW", "lr": "auto"})
    given.take(optimizer(facts(), given))
    assert given["optimizer.lr"] == "auto"
    assert not given.chosen


def test_one_cycle() -> None:
    found = chosen(schedule, facts(), draft())["scheduler"]
    assert found == {"name": "onecycle", "_target_": "torch.optim.lr_scheduler.OneCycleLR", "pct_start": 0.15}
