"""How many images a step and a device have, and what halves them."""

import pytest
from conftest import MakeConfig

from seg.core.errors import ConfigError
from seg.training.settings import Trainer
from seg.training.step.limits import Limits, check_batch_sizes, images_per_device


@pytest.fixture(scope="module")
def base(make_config: MakeConfig) -> Trainer:
    return make_config().trainer


def trainer(base: Trainer, batch_size: int | str, effective: int | None) -> Trainer:
    return base.model_copy(update={"batch_size": batch_size, "effective_batch_size": effective})


@pytest.mark.parametrize(
    ("batch_size", "effective", "devices", "images"),
    [(8, None, 1, 8), (8, None, 4, 8), (8, 32, 1, 32), (8, 32, 4, 8), (8, 12, 4, 3), (8, 20, 1, 20), ("auto", 32, 2, 16)],
)
def test_the_devices_share_a_step(base: Trainer, batch_size: int | str, effective: int | None, devices: int, images: int) -> None:
    assert images_per_device(trainer(base, batch_size, effective), devices) == images


@pytest.mark.parametrize(("effective", "devices", "advice"), [(10, 4, "8 or 12"), (3, 4, "4"), (9, 2, "8 or 10")])
def test_devices_with_unequal_shares_are_refused(base: Trainer, effective: int, devices: int, advice: str) -> None:
    with pytest.raises(ConfigError, match=rf"^trainer\.effective_batch_size={effective}: {devices} devices cannot .* such as {advice}$"):
        images_per_device(trainer(base, 8, effective), devices)


def test_auto_does_not_decide_the_size_of_a_step(base: Trainer) -> None:
    check_batch_sizes(trainer(base, "auto", 16))
    check_batch_sizes(trainer(base, 8, None))
    with pytest.raises(ConfigError, match=r"^trainer\.batch_size=auto: .*set trainer\.effective_batch_size to the number of images"):
        check_batch_sizes(trainer(base, "auto", None))


def not_asked(*_: object) -> int:
    raise AssertionError("the number of images is known")


def test_what_was_tried_is_halved_and_said() -> None:
    limits = Limits(16, not_asked)
    line = limits.halve_training(5, "no room", 6, 20)
    assert line == (
        "out of memory in step 7, which is repeated: 2 images at once from now on, not 5 (no room); "
        "trainer.batch_size=2 with trainer.effective_batch_size=20 starts so"
    )
    assert limits.halve_evaluation(16, "no room").startswith("out of memory in validation: 8 images at once from now on, not 16 (no room)")
    assert (limits.training, limits.evaluation) == (2, 8)


def test_a_single_image_that_does_not_fit_ends_the_training() -> None:
    limits = Limits(2, not_asked)
    with pytest.raises(ConfigError, match=r"^out of memory in training with a single image at once \(no room\); use .*model\.scale"):
        limits.halve_training(1, "no room", 0, 2)
    with pytest.raises(ConfigError, match=r"^out of memory in validation with a single image at once \(no room\); use smaller"):
        limits.halve_evaluation(1, "no room")


def test_what_was_found_is_not_looked_for_again() -> None:
    found = Limits(None, lambda *_: 6)
    found.on_fit_start(None, None)  # type: ignore[arg-type]
    found.halve_evaluation(6, "no room")
    resumed = Limits(None, not_asked)
    resumed.load_state_dict(found.state_dict())
    resumed.on_fit_start(None, None)  # type: ignore[arg-type]
    assert (resumed.training, resumed.evaluation) == (6, 3)
