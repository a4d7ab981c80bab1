"""First convolutions for images of other channels: what the network says of images that carry the same picture."""

from pathlib import Path

import pytest
import timm
import torch
from conftest import MakeConfig, MakeInfo
from timm.models import adapt_input_conv
from torch.nn import functional as F

from seg.core.errors import ConfigError
from seg.models.build import build_model
from seg.models.weights import adapted, first_convolution

SMALL = ["model=unet", "model.network.decoder_channels=[8,8,8,8,8]"]


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7])
def test_the_rule_is_timms(channels: int) -> None:
    weight = torch.randn(6, 3, 5, 5)
    torch.testing.assert_close(adapted(weight, channels), adapt_input_conv(channels, weight))


def test_a_gray_image_gives_what_it_gave_as_rgb_and_back() -> None:
    weight, gray = torch.randn(6, 3, 3, 3), torch.randn(2, 1, 9, 9)
    expected = F.conv2d(gray.expand(-1, 3, -1, -1), weight)
    torch.testing.assert_close(F.conv2d(gray, adapted(weight, 1)), expected)
    torch.testing.assert_close(F.conv2d(gray.expand(-1, 3, -1, -1), adapted(adapted(weight, 1), 3)), expected)
    torch.testing.assert_close(F.conv2d(gray.expand(-1, 6, -1, -1), adapted(weight, 6)), expected)


@pytest.mark.parametrize(
    ("network", "layer", "channels"),
    [
        ("torchvision.models.segmentation.fcn_resnet50", "backbone.conv1", 5),
        ("torchvision.models.segmentation.lraspp_mobilenet_v3_large", "backbone.0.0", 1),
    ],
    ids=["fcn", "lraspp"],
)
def test_networks_for_rgb_alone_take_any_channels(
    network: str, layer: str, channels: int, make_config: MakeConfig, make_info: MakeInfo
) -> None:
    model = build_model(make_config("model=fcn", network={"_target_": network}), make_info(channels=channels)).eval()
    assert first_convolution(model.network, channels) == layer
    images = torch.randint(256, (1, channels, 40, 56), dtype=torch.uint8)
    with torch.inference_mode():
        given = model.logits(images)["out"]
        images[:, -1] += 64
        assert given.shape == (1, 3, 40, 56)
        assert not torch.equal(model.logits(images)["out"], given), "the last channel counts"


def test_a_hubs_weights_are_adapted_where_the_network_takes_no_channels(
    make_config: MakeConfig, make_info: MakeInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub is a stand-in for torchvision's download, with weights drawn here."""
    from torchvision.models import resnet50

    torch.manual_seed(0)
    hub = resnet50().state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: hub)
    network = build_model(make_config("model=fcn", "model.weights=IMAGENET1K_V2"), make_info(channels=4)).network
    torch.testing.assert_close(network.backbone.conv1.weight, adapt_input_conv(4, hub["conv1.weight"]))
    assert torch.equal(network.backbone.layer4[2].conv3.weight, hub["layer4.2.conv3.weight"])


@pytest.mark.parametrize("channels", [1, 4])
def test_a_file_of_an_encoder_for_rgb_is_adapted(
    channels: int, tmp_path: Path, make_config: MakeConfig, make_info: MakeInfo, capsys: pytest.CaptureFixture[str]
) -> None:
    donor = timm.create_model("resnet18", num_classes=5)
    torch.save(donor.state_dict(), tmp_path / "resnet18.pth")
    network = build_model(make_config(*SMALL, f"model.weights={tmp_path / 'resnet18.pth'}"), make_info(channels=channels)).network
    torch.testing.assert_close(network.encoder.conv1.weight, adapt_input_conv(channels, donor.conv1.weight.detach()))
    assert torch.equal(network.encoder.layer4[1].conv2.weight, donor.layer4[1].conv2.weight)
    said = capsys.readouterr().out
    assert f"adapted to the images: encoder.conv1.weight, from 3 to {channels} channels" in said
    assert "in the file alone, not used: fc (2)" in said


def test_a_network_without_such_a_layer_is_refused(make_config: MakeConfig, make_info: MakeInfo) -> None:
    config = make_config(network={"_target_": "torch.nn.Linear", "in_features": 3})
    with pytest.raises(ConfigError, match=r"takes none of classes"):
        build_model(config, make_info(channels=5))
    config = make_config(network={"_target_": "torch.nn.LazyConv2d", "kernel_size": 1})
    with pytest.raises(ConfigError, match=r"has no convolution that takes three channels.*data\.channels=5"):
        build_model(config, make_info(channels=5))


@pytest.mark.parametrize(("channels", "expected"), [(1, [114.495]), (3, [123.675, 116.28, 103.53])])
def test_gray_images_are_normalised_with_the_mean_of_imagenets_channels(
    channels: int, expected: list[float], make_config: MakeConfig, make_info: MakeInfo
) -> None:
    model = build_model(make_config(*SMALL, "model.normalization=imagenet"), make_info(channels=channels))
    torch.testing.assert_close(model.mean.flatten(), torch.tensor(expected))


def test_imagenets_normalisation_has_no_fifth_channel(make_config: MakeConfig, make_info: MakeInfo) -> None:
    with pytest.raises(
        ConfigError, match=r"normalization=imagenet: is for 3 channels, but data\.channels=5; set model\.normalization=dataset"
    ):
        build_model(make_config(*SMALL, "model.normalization=imagenet"), make_info(channels=5))
