"""The seam around a semantic network, by hand."""

import numpy as np
import pytest
import torch
from conftest import MakeConfig, MakeInfo
from models.test_contract import noise
from scipy.special import softmax
from torch import nn
from torch.nn import functional as F

from seg.core.errors import ConfigError
from seg.loading.batch import Batch
from seg.models.build import build_model
from seg.models.semantic import SemanticModel


def test_any_torch_network_plugs_in(make_config: MakeConfig, make_info: MakeInfo) -> None:
    """A 1x1 convolution with the identity as its weights: the prediction is the channel that is brightest after normalisation."""
    config = make_config("model.stride=8", network={"_target_": "torch.nn.Conv2d", "kernel_size": 1, "bias": False})
    model = build_model(config, make_info(classes=3)).eval()
    assert isinstance(model.network, nn.Conv2d)
    with torch.no_grad():
        model.network.weight.copy_(torch.eye(3)[..., None, None])
    images = noise(37, 53)
    normalized = (images.numpy() - np.array([100, 110, 120])[:, None, None]) / np.array([50, 55, 60])[:, None, None]
    for prediction, expected in zip(model.predict(images), normalized.argmax(axis=1), strict=True):
        np.testing.assert_array_equal(prediction.semantic, expected)


def test_imagenets_statistics_are_used_where_asked_for(make_config: MakeConfig, make_info: MakeInfo) -> None:
    config = make_config("model.normalization=imagenet", network={"_target_": "torch.nn.Conv2d", "kernel_size": 1})
    model = build_model(config, make_info())
    np.testing.assert_allclose(model.mean.ravel() / 255, [0.485, 0.456, 0.406], atol=1e-6)
    np.testing.assert_allclose(model.std.ravel() / 255, [0.229, 0.224, 0.225], atol=1e-6)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"_target_": "torch.nn.Conv2d", "kernel_size": 1, "in_chanels": 3}, "does not take these arguments"),
        ({"_target_": "torch.nn.ReLU"}, "takes none of classes, num_classes, out_channels"),
    ],
    ids=["argument", "no-classes"],
)
def test_networks_that_do_not_fit_are_refused(network: dict, message: str, make_config: MakeConfig, make_info: MakeInfo) -> None:
    with pytest.raises(ConfigError, match=rf"^model\.network.*{message}"):
        build_model(make_config(network=network), make_info())


class Fixed(nn.Module):
    """Gives these logits, whatever it sees."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_confidence_is_the_softmax_of_the_predicted_class(dtype: torch.dtype, layout: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (5 * torch.randn(3, 2, 20, 30, generator=generator)).to(dtype).contiguous(memory_format=layout)
    logits[:, :, 0] *= 100  # certain
    logits[:, 1, 1] = logits[:, 0, 1]  # equal
    expected = softmax(logits.double().numpy(), axis=1)
    for n, prediction in enumerate(model_of(Fixed(logits)).predict(torch.zeros(3, 2, 20, 30, dtype=torch.uint8))):
        assert prediction.semantic.dtype == np.uint8
        assert prediction.confidence.dtype == np.uint16
        np.testing.assert_array_equal(prediction.semantic, expected[n].argmax(axis=0))
        np.testing.assert_allclose(prediction.confidence / 65535, expected[n].max(axis=0), atol=0.51 / 65535)
        assert (prediction.semantic[1] == 0).all()
        assert (prediction.confidence[1] == 32768).all()


def test_logits_that_are_not_finite_have_no_confidence() -> None:
    logits = torch.zeros(1, 2, 1, 3)
    logits[0, 0, 0, 0], logits[0, 1, 0, 1] = torch.nan, torch.inf
    (prediction,) = model_of(Fixed(logits)).predict(torch.zeros(1, 2, 1, 3, dtype=torch.uint8))
    assert prediction.confidence.tolist() == [[0, 0, 32768]]


class TwoHeads(nn.Module):
    """Logits at half the size, as torchvision's networks hand them over."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        small = F.avg_pool2d(x, 2)
        return {"out": small, "aux": -small}


def model_of(network: nn.Module, stride: int = 1, scale: float = 1.0, aux_weight: float = 0.25) -> SemanticModel:
    def loss(logits: torch.Tensor, semantic: torch.Tensor) -> torch.Tensor:
        return (logits * (semantic != 255)[:, None]).sum()

    return SemanticModel(network, loss, ["a", "b"], [10.0, 20.0], [2.0, 4.0], stride, scale, aux_weight)


def test_the_networks_input_is_normalised_and_padded_with_its_edge() -> None:
    images = torch.tensor([[[[12, 14, 16]], [[20, 24, 28]]]], dtype=torch.uint8)
    x, size = model_of(nn.Identity(), stride=4).network_input(images)
    assert size == [(1, 3)]
    expected = [[[1.0, 2.0, 3.0, 3.0]] * 4, [[0.0, 1.0, 2.0, 2.0]] * 4]
    np.testing.assert_allclose(x[0], expected)


def test_half_scale_averages_and_comes_back_at_full_size() -> None:
    images = torch.full((1, 2, 6, 10), 10, dtype=torch.uint8)
    images[:, :, :, 5:] = 30
    model = model_of(nn.Identity(), scale=0.5)
    x, size = model.network_input(images)
    assert size == [(3, 5)]
    assert x[0, 0, 0, 0] == pytest.approx(0, abs=1e-6)
    assert x[0, 0, 0, -1] == pytest.approx(10, abs=1e-6)
    assert x.mean() == pytest.approx((10 + 2.5) / 4 + (0 - 2.5) / 4, rel=0.01)
    assert model.logits(images)["out"].shape == (1, 2, 3, 5)
    (prediction,) = model.predict(images)
    assert prediction.semantic.shape == prediction.confidence.shape == (6, 10)


def test_a_constant_channel_does_not_divide_by_zero() -> None:
    model = SemanticModel(nn.Identity(), lambda a, b: a.sum(), ["a", "b"], [10.0], [0.0], 1, 1.0, 0.0)
    assert torch.isfinite(model.network_input(torch.full((1, 1, 2, 2), 10, dtype=torch.uint8))[0]).all()


def test_the_loss_of_another_task_is_refused(make_config: MakeConfig, make_info: MakeInfo) -> None:
    with pytest.raises(ConfigError, match=r"^loss: TermWeights is no loss of logits and class map; choose another, such as loss=ce$"):
        build_model(make_config("loss=mask_rcnn", network={"_target_": "torch.nn.Conv2d", "kernel_size": 1}), make_info())


def test_a_term_and_an_auxiliary_head_of_one_name_both_count() -> None:
    batch = Batch(
        torch.full((1, 2, 4, 4), 12, dtype=torch.uint8), torch.zeros(1, 4, 4, dtype=torch.uint8), [], [], [], [], [], [], [(4, 4)], ["a"]
    )
    model = model_of(TwoHeads())
    model.loss = lambda logits, _: {"aux": logits.sum(), "other": 2 * logits.sum()}
    total = model.logits(batch.images)["out"].sum().item()
    terms = {name: t.item() for name, t in model.losses(batch).items()}
    assert terms == pytest.approx({"aux": total, "other": 2 * total, "aux_head": -0.25 * 3 * total})


def test_an_auxiliary_head_counts_with_its_weight() -> None:
    images = torch.full((1, 2, 4, 4), 12, dtype=torch.uint8)
    images[:, 1] = 24
    semantic = torch.zeros(1, 4, 4, dtype=torch.uint8)
    semantic[:, 0] = 255
    batch = Batch(images, semantic, [], [], [], [], [], [], [(4, 4)], ["a"])
    terms = model_of(TwoHeads()).losses(batch)  # each normalised value is 1, and 2 x 12 of them are counted
    assert {name: t.item() for name, t in terms.items()} == {"main": 24.0, "aux": -6.0}
    assert model_of(TwoHeads(), aux_weight=0.0).losses(batch).keys() == {"main"}
    assert model_of(TwoHeads()).predict(images)[0].semantic.shape == (4, 4)
