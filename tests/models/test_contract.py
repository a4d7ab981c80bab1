"""What every semantic model of conf/model keeps to, and the seam around a network by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, MakeConfig, MakeInfo
from torch import nn
from torch.nn import functional as F

from seg.errors import ConfigError
from seg.models.base import SegmentationModel
from seg.models.build import build_model
from seg.models.semantic import SemanticModel
from seg.sample import Batch, Sample, collate, no_instances

MODELS = sorted(path.stem for path in (ROOT / "conf/model").glob("*.yaml"))
SMALLER = {"unet": ["model.network.decoder_channels=[32,16,16,8,8]"]}

Build = Callable[..., SegmentationModel]


def batch_of(images: np.ndarray, semantic: np.ndarray) -> Batch:
    """(B, H, W, C) images and (B, H, W) class maps as a Batch."""
    return collate([Sample(str(i), x, y, *no_instances(*y.shape)) for i, (x, y) in enumerate(zip(images, semantic, strict=True))])


def noise(height: int, width: int, channels: int = 3, count: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(256, size=(count, channels, height, width)).astype(np.uint8))


def quadrants(size: int = 64) -> Batch:
    """Two images whose three classes are their three colours, with a strip that is ignored."""
    labels = np.zeros((2, size, size), np.uint8)
    labels[0, : size // 2, size // 4 :] = 1
    labels[0, size // 2 :, size // 2 :] = 2
    labels[1, :, : size // 2] = 2
    labels[1, size // 3 :, size // 2 :] = 1
    images = np.array([[200, 30, 40], [40, 190, 60], [20, 60, 210]], np.uint8)[labels]
    labels[:, :, -3:] = 255
    return batch_of(images, labels)


@pytest.fixture(scope="class")
def build(request: pytest.FixtureRequest, make_config: MakeConfig, make_info: MakeInfo) -> Build:
    """Makes the model of the class's configuration: (seed=0, channels=3, overrides=())."""

    def make(seed: int = 0, channels: int = 3, overrides: tuple[str, ...] = ()) -> SegmentationModel:
        name = request.param
        torch.manual_seed(seed)
        return build_model(make_config(f"model={name}", *SMALLER.get(name, ()), *overrides), make_info(channels=channels))

    return make


@pytest.fixture(scope="class")
def fresh(build: Build) -> SegmentationModel:
    """Untrained, in evaluation mode."""
    return build().eval()


@pytest.mark.parametrize("build", MODELS, indirect=True)
class TestContract:
    @pytest.mark.parametrize("size", [(37, 53), (64, 32), (1, 70)], ids=str)
    def test_a_prediction_has_the_images_size_and_known_classes(self, fresh: SegmentationModel, size: tuple[int, int]) -> None:
        predictions = fresh.predict(noise(*size))
        assert len(predictions) == 2
        for prediction in predictions:
            assert prediction.semantic is not None
            assert prediction.semantic.shape == size
            assert prediction.semantic.dtype == np.uint8
            assert prediction.semantic.max() < 3

    def test_the_network_sees_the_stride_and_scale_it_asks_for(self, build: Build) -> None:
        model = build(overrides=("model.scale=0.5",)).eval()
        seen = []
        model.network.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
        (prediction,) = model.predict(noise(70, 101, count=1))
        assert prediction.semantic.shape == (70, 101)
        stride = model.stride
        assert seen == [(1, 3, -(-35 // stride) * stride, -(-50 // stride) * stride)]

    def test_the_loss_falls_and_bf16_says_the_same(self, build: Build) -> None:
        model, batch = build(), quadrants()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0  # so that evaluation uses the last batch's statistics
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        history = []
        model.train()
        for _ in range(8):
            optimizer.zero_grad()
            terms = model.losses(batch)
            assert all(t.ndim == 0 and torch.isfinite(t) for t in terms.values())
            total = torch.stack(list(terms.values())).sum()
            total.backward()
            optimizer.step()
            history.append(total.item())
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad), "a parameter takes no part"
        assert min(history[-2:]) < 0.6 * history[0], history
        with torch.no_grad():
            model.losses(batch)
        model.eval()
        exact = np.stack([p.semantic for p in model.predict(batch.images)])
        with torch.autocast("cpu", torch.bfloat16):
            terms = model.losses(batch)
            half = np.stack([p.semantic for p in model.predict(batch.images)])
        assert all(t.dtype == torch.float32 and torch.isfinite(t) for t in terms.values())
        assert (exact == half).mean() > 0.9
        truth = batch.semantic.numpy()
        accuracy = (exact == truth)[truth != 255].mean()
        assert accuracy > 0.75, "predictions have little to do with the labels trained on"

    def test_an_image_is_predicted_the_same_alone_and_in_company(self, fresh: SegmentationModel) -> None:
        images = noise(40, 48)
        with torch.inference_mode():
            together, alone = fresh.logits(images)["out"], fresh.logits(images[1:])["out"]
        torch.testing.assert_close(together[1:], alone, rtol=1e-3, atol=1e-4)

    def test_a_state_dict_carries_all_that_a_prediction_needs(self, build: Build, tmp_path: Path) -> None:
        images = noise(40, 48)
        first, second = build(seed=1).eval(), build(seed=2).eval()
        with torch.no_grad():
            for parameter in first.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
            first.mean.add_(5)  # statistics of other data
        with torch.inference_mode():
            wanted = first.logits(images)["out"]
            assert not torch.equal(second.logits(images)["out"], wanted)
            torch.save(first.state_dict(), tmp_path / "state.pt")
            second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
            assert torch.equal(second.logits(images)["out"], wanted)
        for a, b in zip(first.predict(images), second.predict(images), strict=True):
            np.testing.assert_array_equal(a.semantic, b.semantic)

    def test_gray_images_are_taken_or_refused(self, build: Build) -> None:
        try:
            model = build(channels=1).eval()
        except ConfigError as error:
            assert "data.channels=1" in str(error)  # noqa: PT017 - either is right
        else:
            (prediction,) = model.predict(noise(37, 53, channels=1, count=1))
            assert prediction.semantic.shape == (37, 53)


def test_unet_takes_gray_images_and_fcn_says_that_it_does_not(make_config: MakeConfig, make_info: MakeInfo) -> None:
    gray = make_info(channels=1)
    assert build_model(make_config(*SMALLER["unet"]), gray).mean.shape == (1, 1, 1, 1)
    with pytest.raises(ConfigError, match=r"takes RGB images alone, but data\.channels=1"):
        build_model(make_config("model=fcn"), gray)
    with pytest.raises(ConfigError, match=r"normalization=imagenet: is for RGB"):
        build_model(make_config("model.normalization=imagenet"), gray)


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
        ({"_target_": "segmentation_models_pytorch.Unet", "encoder_name": "resnett18"}, "Wrong encoder name `resnett18`"),
    ],
    ids=["argument", "no-classes", "encoder"],
)
def test_networks_that_do_not_fit_are_refused(network: dict, message: str, make_config: MakeConfig, make_info: MakeInfo) -> None:
    with pytest.raises(ConfigError, match=rf"^model\.network.*{message}"):
        build_model(make_config(network=network), make_info())


class TwoHeads(nn.Module):
    """Logits at half the size, as torchvision's networks hand them over."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        small = F.avg_pool2d(x, 2)
        return {"out": small, "aux": -small}


def model_of(network: nn.Module, stride: int = 1, scale: float = 1.0, aux_weight: float = 0.25) -> SemanticModel:
    def loss(logits: torch.Tensor, semantic: torch.Tensor) -> torch.Tensor:
        return (logits * (semantic != 255)[:, None]).sum()

    return SemanticModel(network, loss, 2, [10.0, 20.0], [2.0, 4.0], stride, scale, aux_weight)


def test_the_networks_input_is_normalised_and_padded_with_its_edge() -> None:
    images = torch.tensor([[[[12, 14, 16]], [[20, 24, 28]]]], dtype=torch.uint8)
    x, size = model_of(nn.Identity(), stride=4).network_input(images)
    assert size == (1, 3)
    expected = [[[1.0, 2.0, 3.0, 3.0]] * 4, [[0.0, 1.0, 2.0, 2.0]] * 4]
    np.testing.assert_allclose(x[0], expected)


def test_half_scale_averages_and_comes_back_at_full_size() -> None:
    images = torch.full((1, 2, 6, 10), 10, dtype=torch.uint8)
    images[:, :, :, 5:] = 30
    model = model_of(nn.Identity(), scale=0.5)
    x, size = model.network_input(images)
    assert size == (3, 5)
    assert x[0, 0, 0, 0] == pytest.approx(0, abs=1e-6)
    assert x[0, 0, 0, -1] == pytest.approx(10, abs=1e-6)
    assert x.mean() == pytest.approx((10 + 2.5) / 4 + (0 - 2.5) / 4, rel=0.01)
    assert model.logits(images)["out"].shape == (1, 2, 3, 5)
    assert model.predict(images)[0].semantic.shape == (6, 10)


def test_a_constant_channel_does_not_divide_by_zero() -> None:
    model = SemanticModel(nn.Identity(), lambda a, b: a.sum(), 2, [10.0], [0.0], 1, 1.0, 0.0)
    assert torch.isfinite(model.network_input(torch.full((1, 1, 2, 2), 10, dtype=torch.uint8))[0]).all()


def test_an_auxiliary_head_counts_with_its_weight() -> None:
    images = torch.full((1, 2, 4, 4), 12, dtype=torch.uint8)
    images[:, 1] = 24
    semantic = torch.zeros(1, 4, 4, dtype=torch.uint8)
    semantic[:, 0] = 255
    batch = Batch(images, semantic, [], [], [], [(4, 4)], ["a"])
    terms = model_of(TwoHeads()).losses(batch)  # each normalised value is 1, and 2 x 12 of them are counted
    assert {name: t.item() for name, t in terms.items()} == {"main": 24.0, "aux": -6.0}
    assert model_of(TwoHeads(), aux_weight=0.0).losses(batch).keys() == {"main"}
    assert model_of(TwoHeads()).predict(images)[0].semantic.shape == (4, 4)
