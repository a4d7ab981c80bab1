"""Encoders of every family, with decoders that they fit; torchvision's as encoders of smp."""

import pytest
import torch
import torchvision
from conftest import MakeConfig, MakeInfo
from models.test_contract import noise, quadrants

from seg.core.errors import ConfigError
from seg.models.build import build_model
from seg.models.dry_run import check_sizes, freeze_unused
from seg.models.encoders import TORCHVISION, TorchvisionEncoder, check_encoder

SMALL = {  # family: encoder
    "ResNet": "tu-resnet10t",
    "VGG": "vgg11_bn",
    "MobileNet v1": "tu-mobilenetv1_100",
    "MobileNet v2": "tu-mobilenetv2_035",
    "MobileNet v3": "tu-mobilenetv3_small_050",
    "SqueezeNet": "tv-squeezenet1_1",
    "ShuffleNet": "tv-shufflenet_v2_x0_5",
    "GoogLeNet": "tv-googlenet",
    "ConvNeXt": "tu-convnext_atto",
    "Mix Transformer": "mit_b0",
}
LARGE = {
    "ResNeXt": "tu-resnext26ts",
    "SE-ResNet": "tu-seresnet18",
    "DenseNet": "densenet121",
    "EfficientNet": "efficientnet-b0",
    "Xception": "xception",
    "Inception v4": "inceptionv4",
    "CSPNet": "tu-cspdarknet53",
}
DILATED = ("vgg", "squeezenet", "googlenet", "densenet", "inception", "xception")  # these cannot be
BELOW = ("VGG", "SqueezeNet", "GoogLeNet", "ConvNeXt", "Mix Transformer")
"""Families that are tried below Mask R-CNN: with a stage at the full size, without one at the stride 32, of torchvision, and with a
first stride of 4 in two ways. (Others come with its options.)"""
FPN = ("SqueezeNet", "Mix Transformer")
"""Families that are tried below an FPN: of four stages, and without features at the stride 2. It asks for nothing else than a U-Net."""

CASES = [
    pytest.param(encoder, decoder, marks=[pytest.mark.slow] * (encoder not in quick or decoder != "unet"), id=f"{family}-{decoder}")
    for quick in [{"tv-squeezenet1_1", "tv-shufflenet_v2_x0_5", "tu-mobilenetv3_small_050"}]
    for family, encoder in (SMALL | LARGE).items()
    for decoder in ("unet", "fpn", "deeplabv3plus")
    if decoder == "unet" or (family in FPN if decoder == "fpn" else not any(word in encoder for word in DILATED))
]


def settings(encoder: str, decoder: str) -> list[str]:
    """With a light decoder, and only the depth that the encoder has."""
    chosen = [f"model={decoder}", f"model.network.encoder_name={encoder}"]
    depth = 4 if "squeezenet" in encoder else 5
    if decoder == "unet":
        chosen.append(f"model.network.decoder_channels={[32, 16, 16, 8, 8][:depth]}")
    if decoder == "fpn":
        chosen.append(f"model.network.upsampling={2 ** (depth - 3)}")
    return [*chosen, f"model.network.encoder_depth={depth}"]


@pytest.mark.parametrize(("encoder", "decoder"), CASES)
def test_an_encoder_takes_odd_images_and_learns(encoder: str, decoder: str, make_config: MakeConfig, make_info: MakeInfo) -> None:
    torch.manual_seed(0)
    model, batch = build_model(make_config(*settings(encoder, decoder)), make_info()).train(), quadrants()
    check_sizes(model, 3, 2, [(64, 64)], [(37, 53)])
    freeze_unused(model, 3, (64, 64))
    before = [p.clone() for p in model.parameters() if p.requires_grad]
    sum(model.losses(batch).values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1).step()
    moved = [not torch.equal(a, b) for a, b in zip(before, (p for p in model.parameters() if p.requires_grad), strict=True)]
    assert sum(moved) > 0.25 * len(moved), "some start behind a batch norm with the weight 0, and move from the second step on"
    predicted = model.eval().predict(noise(37, 53))
    assert [p.semantic.shape for p in predicted] == [(37, 53)] * 2


@pytest.mark.slow
@pytest.mark.parametrize("encoder", [SMALL[family] for family in BELOW])
def test_an_encoder_below_mask_rcnn(encoder: str, make_config: MakeConfig, make_info: MakeInfo) -> None:
    config = make_config("task=instance", f"model.network.encoder_name={encoder}", "model.network.rpn_post_nms_top_n=[50,20]")
    if "squeezenet" in encoder:
        with pytest.raises(ConfigError, match="gives no features at the strides 4, 8, 16 and 32; choose another encoder"):
            build_model(config, make_info(background=True))
        return
    model = build_model(config, make_info(background=True)).train()
    check_sizes(model, 3, 2, [(64, 64)], [(37, 53)])
    sum(model.losses(quadrants()).values()).backward()
    assert len(model.eval().predict(noise(37, 53))) == 2


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_features_are_its_classifiers(name: str) -> None:
    """The deepest features give the classifier's own answer through its head, and every tensor has torchvision's name and shape."""
    extra = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    classifier = torchvision.models.get_model(name, weights=None, **extra).eval()
    depth = 4 if name.startswith("squeezenet") else 5
    encoder = TorchvisionEncoder(name, depth, 32).eval()
    theirs = classifier.state_dict()
    assert encoder.load_state_dict({n: theirs[n] for n in encoder.state_dict()}).missing_keys == []
    if name.startswith("squeezenet"):
        first = classifier.features[0]
        first.padding = tuple(k // 2 for k in first.kernel_size)
    x = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        features, expected = encoder(x), classifier(x)
        deepest = features[-1]
        if name.startswith("shufflenet") or name == "googlenet":
            answer = classifier.fc(deepest.mean([2, 3]))
        else:
            answer = torch.flatten(classifier.classifier(deepest), 1)
    torch.testing.assert_close(answer, expected)
    assert [tuple(f.shape[1:]) for f in features] == [(c, 64 >> i, 96 >> i) for i, c in enumerate(encoder.out_channels)]


def test_torchvisions_encoders_are_dilated_where_no_pooling_is_in_the_way(make_config: MakeConfig, make_info: MakeInfo) -> None:
    encoder = TorchvisionEncoder("shufflenet_v2_x0_5", 5, 16)
    encoder.make_dilated(16)
    assert [f.shape[-1] for f in encoder.eval()(torch.zeros(1, 3, 64, 64))] == [64, 32, 16, 8, 4, 4]
    TorchvisionEncoder("squeezenet1_1", 4, 16).make_dilated(16)
    with pytest.raises(ValueError, match="downsamples by pooling"):
        TorchvisionEncoder("squeezenet1_1", 4, 8).make_dilated(8)


def test_gray_images_change_the_first_convolution_alone(make_config: MakeConfig, make_info: MakeInfo) -> None:
    model = build_model(make_config(*settings("tv-shufflenet_v2_x0_5", "unet")), make_info(channels=1))
    assert model.network.encoder.conv1[0].weight.shape == (24, 1, 3, 3)
    assert model.eval().predict(noise(37, 53, channels=1))[0].semantic.shape == (37, 53)


@pytest.mark.parametrize(
    "name", ["resnet18", "tu-resnet10t", "tu-resnet18.a1_in1k", "tv-googlenet", "timm-mobilenetv3_small_100", "mit_b0"]
)
def test_known_encoders_are_known(name: str) -> None:
    check_encoder(name, None)


def test_squeeze_and_excitation_in_the_decoder(make_config: MakeConfig, make_info: MakeInfo) -> None:
    """Each of a decoder's blocks gets two: of the skip connection's channels with the upsampled ones, and of what it gives.

    The last block has no skip connection, and its first module takes no part.
    """
    light = ["model=unet", "model.network.decoder_channels=[32,16,16,16,16]"]
    plain, scse = (
        build_model(make_config(*light, f"model.network.decoder_attention_type={kind}"), make_info()) for kind in ("null", "scse")
    )
    inside = [m for m in scse.network.decoder.modules() if type(m).__name__ == "SCSEModule"]
    encoder = [256, 128, 64, 64]
    expected = [(e + d, out) for e, d, out in zip(encoder, [512, 32, 16, 16], [32, 16, 16, 16], strict=True)]
    assert [m.cSE[1].in_channels for m in inside] == [c for pair in expected for c in pair] + [16, 16]
    assert not [m for m in plain.network.decoder.modules() if type(m).__name__ == "SCSEModule"]
    check_sizes(scse, 3, 2, [(64, 64)], [(37, 53)])
    assert all(name.startswith("decoder.blocks.4.attention1") for name in freeze_unused(scse, 3, (64, 64)))
