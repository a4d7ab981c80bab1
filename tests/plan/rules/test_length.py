"""How long to train, in how many steps, and of how many images each."""

from typing import Any

import pytest
from planned_facts import chosen, draft, facts, reason, spread

from seg.plan.rules.length import Cost, batch, evaluation, images_at_once, length, minutes, step_images, steps


@pytest.mark.parametrize(
    ("changed", "expected"),
    [({}, 30.0), ({"device": "mps"}, 45.0), ({"device": "cuda"}, 60.0), ({"drawn": True}, 2.1), ({"drawn": True, "task": "instance"}, 7.0)],
    ids=str,
)
def test_minutes(changed: dict[str, Any], expected: float) -> None:
    assert chosen(minutes, facts(**changed), draft()) == {"plan.minutes": expected}


@pytest.mark.parametrize(
    ("task", "device", "images", "expected"),
    [
        ("semantic", "cpu", 300, 8),
        ("semantic", "cuda", 300, 16),
        ("semantic", "mps", 300, 16),
        ("instance", "cpu", 300, 4),
        ("instance", "cuda", 300, 8),
        ("semantic", "cpu", 2, 2),
        ("instance", "cuda", 1, 1),
    ],
)
def test_images_of_a_step(task: str, device: str, images: int, expected: int) -> None:
    known = facts(task=task, device=device, images=images)
    assert chosen(batch, known, draft()) == {"trainer.batch_size": expected}
    assert ("but the training split has" in reason(batch, "trainer.batch_size", known, draft())) is (images < 4)


def test_steps_of_the_example_are_smaller() -> None:
    assert chosen(batch, facts(drawn=True, images=300), draft()) == {"trainer.batch_size": 4}
    assert chosen(batch, facts(drawn=True, images=3), draft()) == {"trainer.batch_size": 3}
    distances = draft(model__adapter={"_target_": "seg.models.distance.DistanceModel"})
    assert chosen(batch, facts(drawn=True, images=300, task="instance"), distances) == {"trainer.batch_size": 8}


@pytest.mark.parametrize(
    ("budget", "step", "expected"),
    [
        (30, 1.0, 1500),  # 1530 seconds
        (30, 0.5, 3000),
        (60, 0.1, 30_000),
        (2, 0.8, 120),
        (2, 0.5, 200),
        (60, 0.001, 3_000_000),
        (0.01, 5.0, 100),
    ],
)
def test_steps_in_two_digits(budget: float, step: float, expected: int) -> None:
    assert steps(budget, Cost(step, 0, 0)) == expected


def test_a_small_difference_in_speed_changes_nothing() -> None:
    assert steps(30, Cost(0.500, 0, 0)) == steps(30, Cost(0.497, 0, 0)) == 3000


@pytest.mark.parametrize(
    ("memory", "images", "free", "expected"),
    [(80, 8, 100, 8), (80, 8, 80, 8), (80, 8, 79, 4), (80, 8, 25, 2), (80, 8, 1, 1), (70, 7, 50, 4), (70, 7, 35, 2), (9, 1, 1, 1)],
)
def test_images_at_once_by_memory(memory: float, images: int, free: float, expected: int) -> None:
    """A step of 8 images takes 80 bytes: 4 images take 40, 2 take 20. An odd number is halved upwards."""
    assert images_at_once(Cost(1, 1, memory), images, free) == expected


def planned(cost: Cost, *, minutes: float = 30, open_keys: list[str] | None = None, known: Any = None, **values: Any) -> dict[str, Any]:
    given = {"plan__minutes": minutes, "trainer__batch_size": 8} | values
    return chosen(length, known or facts(), draft(open_keys, **given), cost)


@pytest.mark.parametrize(
    ("forward", "validation", "epochs", "per_epoch"),
    [
        (0.001, 60, 40, 38),  # 1500 steps; validation costs next to nothing
        (0.1, 60, 30, 50),  # a tenth of 30 minutes is 180 s, a validation takes 6 s
        (1.0, 60, 6, 217),  # six at least; they take a fifth, so a tenth less is left: 1300 steps
        (2.5, 60, 3, 433),  # six would take half of the time, three take a quarter: 1300 steps
        (30.0, 60, 1, 300),  # one would take all of it: a fifth is left for steps, 306 seconds
        (0.1, 0, 40, 38),
    ],
)
def test_validation_takes_a_tenth_at_most(forward: float, validation: int, epochs: int, per_epoch: int) -> None:
    found = planned(Cost(1.0, forward, 0), known=facts(validation_images=validation))
    assert found == {"trainer.epoch_steps": per_epoch, "trainer.max_epochs": epochs}


def test_validation_images_of_another_size() -> None:
    """60 of four times the pixels cost as much as 240."""
    known = facts(validation_size=4.0)
    assert planned(Cost(1.0, 0.1, 0), known=known) == planned(Cost(1.0, 0.1, 0), known=facts(validation_images=240))
    assert planned(Cost(1.0, 0.1, 0), known=known)["trainer.max_epochs"] == 7  # 24 s each, of 180


def test_steps_may_be_fewer_than_a_training_has() -> None:
    """Where it is said how many there would be."""
    assert [steps(minutes, Cost(2.0, 0, 0), least=1) for minutes in (2, 0.2, 0.01)] == [51, 5, 1]


def test_images_of_a_step_over_all_devices() -> None:
    assert step_images(facts(devices=4), draft(trainer__batch_size=8)) == 32
    assert step_images(facts(devices=4), draft(trainer__batch_size=8, trainer__effective_batch_size=48)) == 48
    said = reason(length, "trainer.epoch_steps", facts(devices=4), draft(plan__minutes=30, trainer__batch_size=8), Cost(1.0, 0.1, 0))
    assert said.endswith("each image is seen 160.0 times")


def test_epochs_that_a_person_set_are_passes() -> None:
    found = planned(Cost(1.0, 0.1, 0), trainer__max_epochs=50)
    assert found == {"trainer.epoch_steps": None}


def test_steps_of_an_epoch_that_a_person_set() -> None:
    found = planned(Cost(1.0, 0.1, 0), trainer__epoch_steps=100)
    assert found["trainer.max_epochs"] == 15  # of 1500 steps
    assert planned(Cost(1.0, 0.1, 0), trainer__epoch_steps=10_000)["trainer.max_epochs"] == 1


def test_more_images_than_steps() -> None:
    known = facts(images=1_000_000, validation_images=1)
    assert planned(Cost(10.0, 0.1, 0), minutes=20, known=known) == {"trainer.epoch_steps": 2, "trainer.max_epochs": 40}  # 100 steps
    said = reason(length, "trainer.epoch_steps", known, draft(plan__minutes=20, trainer__batch_size=8), Cost(10.0, 0.1, 0))
    assert said == "100 steps of 10 s fit into 20 minutes: each image is seen 0.0 times"


def test_passes_count_the_images_of_a_step() -> None:
    told = {
        images: reason(length, "trainer.epoch_steps", facts(), draft(plan__minutes=30, **images_of), Cost(1.0, 0.1, 0)).partition(": ")[2]
        for images, images_of in {
            8: {"trainer__batch_size": 8},
            32: {"trainer__batch_size": "auto", "trainer__effective_batch_size": 32},
        }.items()
    }
    assert told == {8: "each image is seen 40.0 times", 32: "each image is seen 160.0 times"}


def test_the_least_number_of_steps_takes_longer_than_a_second() -> None:
    said = reason(length, "trainer.epoch_steps", facts(), draft(plan__minutes=0.01, trainer__batch_size=8), Cost(0.5, 0.1, 0))
    assert said.startswith("100 steps of 0.5 s are the fewest that teach anything, though they take more than 0.01 minutes")


def test_validations_are_as_many_where_not_each_epoch_has_one() -> None:
    """30 of them, in each third epoch; 1500 steps."""
    assert planned(Cost(1.0, 0.1, 0), trainer__validate_every=3) == {"trainer.max_epochs": 90, "trainer.epoch_steps": 17}


@pytest.mark.parametrize(("setting", "least"), [({"trainer__validate_every": 50}, 50), ({"finetune__freeze_epochs": 10}, 11)])
def test_no_fewer_epochs_than_training_accepts(setting: dict[str, int], least: int) -> None:
    assert planned(Cost(1.0, 1.0, 0), **setting)["trainer.max_epochs"] >= least
    assert planned(Cost(1.0, 1.0, 0), trainer__epoch_steps=1000, **setting)["trainer.max_epochs"] == least


@pytest.mark.parametrize(
    ("task", "side", "expected"),
    [("semantic", 256, 8), ("semantic", 512, 4), ("semantic", 700, 2), ("semantic", 5000, 1), ("instance", 512, 1)],
)
def test_images_that_evaluation_sees_at_once(task: str, side: int, expected: int) -> None:
    assert chosen(evaluation, facts(task=task, height=spread(side), width=spread(side)), draft()) == {"evaluate.batch_size": expected}


def test_a_step_that_others_slowed_is_said() -> None:
    given = facts(), draft(plan__minutes=30, trainer__batch_size=8)
    assert reason(length, "trainer.epoch_steps", *given, Cost(1.0, 0.1, 0)).endswith(" times")
    slowed = reason(length, "trainer.epoch_steps", *given, Cost(1.0, 0.1, 0, 4.4))
    assert slowed.endswith(" times; other programs made a step 4.4 times as long when it was timed")
