"""What every loss keeps to: ignored pixels, absent classes, float32, and weights; and every option of conf/loss trains."""

import numpy as np
import pytest
import torch
from conftest import ROOT, MakeConfig, MakeInfo
from labelled_logits import IGNORE, LOSSES, logits_and_labels, value_and_gradient

from seg.loading.batch import Batch
from seg.models.build import build_model

OTHERS = {"mask_rcnn", "detection", "panoptic", "prototypes", "masks", "distance", "camvid"}  # of other models, or other classes
OPTIONS = sorted({p.stem for p in (ROOT / "conf/loss").glob("*.yaml")} - OTHERS)


@pytest.fixture(params=LOSSES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("weights", ["none", "inverse", [0.0, 0.0, 0.0, 0.0]], ids=str)
def test_an_ignored_batch_costs_nothing_and_moves_nothing(name: str, weights: str | list[float]) -> None:
    semantic = torch.full((2, 5, 5), IGNORE, dtype=torch.uint8)
    value, gradient = value_and_gradient(LOSSES[name](weights), torch.randn(2, 4, 5, 5), semantic)
    assert value == 0
    assert not gradient.any()


def test_classes_without_weight_cost_nothing_and_move_nothing(name: str) -> None:
    semantic = torch.zeros(2, 5, 5, dtype=torch.uint8)
    semantic[0, :2] = 1
    value, gradient = value_and_gradient(LOSSES[name]([0.0, 0.0, 1.0, 1.0]), torch.randn(2, 4, 5, 5), semantic)
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("scale", [1.0, 300.0])
@pytest.mark.parametrize("case", ["some", "single", "one-pixel", "perfect"])
def test_values_and_gradients_are_finite_and_float32_also_under_autocast(name: str, case: str, scale: float) -> None:
    logits, semantic = logits_and_labels()
    if case == "single":
        semantic[:] = 2
    elif case == "one-pixel":
        semantic[:] = IGNORE
        semantic[1, 3, 3] = 1
    elif case == "perfect":
        logits = 20.0 * torch.stack([semantic == k for k in range(4)], dim=1).double()
    rounded = (scale * logits).bfloat16()
    loss = LOSSES[name]("none")
    with torch.autocast("cpu", torch.bfloat16):
        value, gradient = value_and_gradient(loss, rounded, semantic)
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()
    again, _ = value_and_gradient(loss, rounded.float(), semantic)
    assert torch.equal(value, again), "computed in float32, whatever the logits' type"


def test_ignored_pixels_have_no_say(name: str) -> None:
    logits, semantic = logits_and_labels()
    ignored = (semantic == IGNORE)[:, None].expand_as(logits)
    loss = LOSSES[name]("median")
    value, gradient = value_and_gradient(loss, logits.float(), semantic)
    changed, _ = value_and_gradient(loss, torch.where(ignored, 3 - logits, logits).float(), semantic)
    assert torch.equal(value, changed)
    assert not gradient[ignored].any()
    assert gradient[~ignored].any()


def test_the_memory_format_is_no_matter(name: str) -> None:
    logits, semantic = logits_and_labels()
    loss = LOSSES[name]("median")
    value, gradient = value_and_gradient(loss, logits.float(), semantic)
    other, other_gradient = value_and_gradient(loss, logits.float().contiguous(memory_format=torch.channels_last), semantic)
    torch.testing.assert_close(other, value)
    torch.testing.assert_close(other_gradient, gradient)


def test_weights_count_by_their_proportions(name: str) -> None:
    logits, semantic = logits_and_labels(occurring=4)
    none, ones, twos, uneven = (
        LOSSES[name](weights)(logits.float(), semantic) for weights in ("none", [1.0] * 4, [2.0] * 4, [1.0, 2.0, 1.0, 0.0])
    )
    torch.testing.assert_close(ones, none)
    torch.testing.assert_close(twos, none)
    assert abs(uneven - none) > 1e-4


def test_the_state_holds_the_weights(name: str) -> None:
    inverse, zeros = LOSSES[name]("inverse"), LOSSES[name]([0.0] * 4)
    zeros.load_state_dict(inverse.state_dict())
    logits, semantic = logits_and_labels()
    assert zeros(logits, semantic) == inverse(logits, semantic) != 0


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_learns_two_images(option: str, make_config: MakeConfig, make_info: MakeInfo) -> None:
    labels = np.zeros((2, 32, 32), np.uint8)
    labels[0, :16, 8:] = labels[1, 20:, 16:] = 1
    labels[0, 16:, 16:] = labels[1, :, :16] = 2
    pictures = np.array([[200, 30, 40], [40, 190, 60], [20, 60, 210]], np.uint8)[labels].transpose(0, 3, 1, 2)
    labels[:, :, -3:] = 255
    batch = Batch(torch.from_numpy(pictures.copy()), torch.from_numpy(labels), [], [], [], [], [], [], [(32, 32)] * 2, ["a", "b"])
    network = {"_target_": "torch.nn.Conv2d", "kernel_size": 3, "padding": 1}
    torch.manual_seed(0)
    model = build_model(make_config(f"loss={option}", network=network), make_info())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    history = []
    for _ in range(30):
        optimizer.zero_grad()
        terms = model.losses(batch)
        total = torch.stack(list(terms.values())).sum()
        total.backward()
        optimizer.step()
        history.append(total.item())
    assert history[-1] < 0.7 * history[0], history
    predicted = np.stack([p.semantic for p in model.predict(batch.images) if p.semantic is not None])
    assert (predicted == labels)[labels != 255].mean() > 0.95
