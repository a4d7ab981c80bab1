"""Losses against torch in double precision, class weights by hand."""

import pytest
import torch
from torch.nn import functional as F

from seg.errors import ConfigError
from seg.models.losses import CrossEntropy, weights_of

IGNORE = 255
PIXELS = [60, 30, 10, 0]
WEIGHTS = {"none": None, "inverse": [1 / 3, 2 / 3, 2.0, 0.0], "median": [0.5, 1.0, 3.0, 0.0]}


def logits_and_labels(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(2, 4, 9, 11) logits in double precision, and labels of the classes 0 to 2, a fifth of them ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 4, 9, 11, generator=generator, dtype=torch.float64)
    semantic = torch.randint(3, (2, 9, 11), generator=generator)
    semantic[torch.rand(2, 9, 11, generator=generator) < 0.2] = IGNORE
    return logits, semantic.to(torch.uint8)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["none", "inverse", "median", [0.5, 2.0, 0.0, 1.0]], ids=str)
def test_cross_entropy_and_its_gradient_equal_torchs(kind: str | list[float], smoothing: float, channels_last: bool) -> None:
    logits, semantic = logits_and_labels()
    weight = WEIGHTS[kind] if isinstance(kind, str) else kind
    exact = logits.clone().requires_grad_()
    reference = F.cross_entropy(
        exact,
        semantic.long(),
        None if weight is None else torch.tensor(weight, dtype=torch.float64),
        ignore_index=IGNORE,
        label_smoothing=smoothing,
    )
    reference.backward()
    ours = logits.float().contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format).requires_grad_()
    loss = CrossEntropy(kind, smoothing, PIXELS)(ours, semantic)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(reference.item(), rel=1e-6)
    torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["none", "inverse", "median"])
def test_an_ignored_batch_costs_nothing_and_moves_nothing(kind: str, smoothing: float) -> None:
    logits = torch.randn(2, 4, 5, 5, requires_grad=True)
    loss = CrossEntropy(kind, smoothing, PIXELS)(logits, torch.full((2, 5, 5), IGNORE, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_batch_of_classes_without_weight_costs_nothing_and_moves_nothing(smoothing: float) -> None:
    logits = torch.randn(1, 4, 5, 5, requires_grad=True)
    loss = CrossEntropy([0.0, 1.0, 1.0, 1.0], smoothing, PIXELS)(logits, torch.zeros(1, 5, 5, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_ignored_pixels_have_no_say() -> None:
    logits, semantic = logits_and_labels()
    loss = CrossEntropy("median", 0.1, PIXELS)
    changed = torch.where((semantic == IGNORE)[:, None], torch.full_like(logits, 50.0), logits)
    assert not torch.equal(changed, logits)
    assert torch.equal(loss(logits, semantic), loss(changed, semantic))


def test_bf16_autocast_stays_finite_and_close() -> None:
    logits, semantic = logits_and_labels()
    extreme = (40 * logits).bfloat16()
    weight = torch.tensor(WEIGHTS["inverse"], dtype=torch.float64)
    reference = F.cross_entropy(extreme.double(), semantic.long(), weight, ignore_index=IGNORE)
    given = extreme.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = CrossEntropy("inverse", 0.0, PIXELS)(given, semantic)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(reference.item(), rel=1e-5)
    assert torch.isfinite(given.grad).all()


@pytest.mark.parametrize("kind", ["inverse", "median"])
def test_class_weights_by_hand(kind: str) -> None:
    # shares 0.6, 0.3, 0.1, 0: 1 / share is 5/3, 10/3, 10, with mean 5; the median share of those that occur is 0.3
    assert weights_of(kind, PIXELS) == pytest.approx(WEIGHTS[kind])


def test_class_weights_as_given() -> None:
    assert weights_of("none", PIXELS) is None
    assert weights_of([1, 2, 0, 0.5], PIXELS) == [1.0, 2.0, 0.0, 0.5]


@pytest.mark.parametrize(
    ("weights", "smoothing", "message"),
    [
        ("inverted", 0.0, r"loss\.class_weights='inverted': expected none, inverse, median"),
        ([1.0, 2.0], 0.0, r"loss\.class_weights=\[1\.0, 2\.0\]: expected 4 weights of 0 or more"),
        ([1.0, 2.0, -1.0, 0.0], 0.0, r"loss\.class_weights=.*expected 4 weights of 0 or more"),
        ("none", 1.0, r"loss\.label_smoothing=1\.0"),
        ("none", -0.1, r"loss\.label_smoothing=-0\.1"),
    ],
)
def test_bad_arguments_are_named(weights: str | list[float], smoothing: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CrossEntropy(weights, smoothing, PIXELS)
