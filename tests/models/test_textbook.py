"""Encoders of the textbooks: parameters counted by hand from the papers, and features that decoders take."""

import pytest
import torch
from conftest import MakeConfig, MakeInfo
from models.test_contract import noise, quadrants
from torch import nn

from seg.core.errors import ConfigError
from seg.models.build import build_model
from seg.models.dry_run import check_sizes
from seg.models.encoders import check_encoder, encoder_names
from seg.models.textbook import TEXTBOOK, TextbookEncoder

DEPTHS = {"lenet5": 2, "alexnet": 5, "zfnet": 5, "nin": 2, "shufflenet_v1": 5, "effnet": 3}


def parameters(name: str, channels: int = 3) -> int:
    encoder = TextbookEncoder(name, DEPTHS[name], 32)
    encoder.set_in_channels(channels, pretrained=False)
    return sum(p.numel() for p in encoder.parameters())


def shuffle_unit(before: int, middle: int, made: int, groups: int) -> int:
    """Two pointwise convolutions, the second in three groups, a depthwise one, and two numbers a channel of each batch norm."""
    return before * middle // groups + 9 * middle + middle * made // 3 + 2 * (2 * middle + made)


@pytest.mark.parametrize(
    ("name", "channels", "encoder", "head", "whole"),
    [
        ("lenet5", 1, 156 + 12 + 6 * 76 + 9 * 101 + 151 + 32 + 48_120, 10_164, 60_000),  # C1, S2, C3, S4, C5; F6; section II.B
        ("alexnet", 3, 34_944 + 307_456 + 885_120 + 663_936 + 442_624, 37_752_832 + 16_781_312 + 4_097_000, 60_965_224),  # "60 million"
        ("zfnet", 3, 14_208 + 614_656 + 885_120 + 1_327_488 + 884_992, 0, 3_726_464),
        ("nin", 3, 14_592 + 30_880 + 15_456 + 460_992 + 2 * 37_056 + 331_968 + 37_056, 1_930, 966_986),
        ("effnet", 3, 4_384 + 320 + 20_864 + 640 + 82_688 + 1_280, 0, 110_176),  # a block's convolutions, its batch norms; ...
    ],
)
def test_parameters_are_the_papers(name: str, channels: int, encoder: int, head: int, whole: int) -> None:
    assert parameters(name, channels) == encoder
    assert encoder + head == whole


def test_shufflenets_parameters() -> None:
    """1.9 million with the classifier of 1,000 classes; the first units of a stage join what they pool, so they make less."""
    counted = 3 * 24 * 9 + 2 * 24
    for before, after, count in ((24, 240, 3), (240, 480, 7), (480, 960, 3)):
        counted += shuffle_unit(before, after // 4, after - before, 1 if before == 24 else 3)
        counted += count * shuffle_unit(after, after // 4, after, 3)
    assert parameters("shufflenet_v1") == counted
    assert round((counted + 961_000) / 1e6, 1) == 1.9


def test_lenets_third_layer_sees_the_maps_of_the_papers_table() -> None:
    third = next(m for m in TextbookEncoder("lenet5", 2, 32).modules() if type(m).__name__ == "Connected")
    columns = ["012", "123", "234", "345", "045", "015", "0123", "1234", "2345", "0345", "0145", "0125", "0134", "1245", "0235", "012345"]
    assert ["".join(map(str, maps)) for maps in third.seen] == columns


@pytest.mark.parametrize("name", TEXTBOOK)
def test_features_have_their_strides_and_the_network_learns(name: str, make_config: MakeConfig, make_info: MakeInfo) -> None:
    torch.manual_seed(0)
    depth = DEPTHS[name]
    encoder = TextbookEncoder(name, depth, 32)
    shapes = [tuple(f.shape[1:]) for f in encoder.eval()(torch.rand(2, 3, 64, 96))]
    assert shapes == [(c, 64 >> i, 96 >> i) for i, c in enumerate(encoder.out_channels)]
    chosen = [f"model.network.encoder_name={name}", f"model.network.encoder_depth={depth}"]
    model = build_model(make_config("model=unet", *chosen, f"model.network.decoder_channels={[32, 16, 16, 8, 8][:depth]}"), make_info())
    check_sizes(model, 3, 2, [(64, 64)], [(37, 53)])
    optimizer, batch = torch.optim.Adam(model.train().parameters(), lr=0.003), quadrants()
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = sum(model.losses(batch).values())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert [p.semantic.shape for p in model.eval().predict(noise(37, 53))] == [(37, 53)] * 2


def test_a_step_of_shufflenet_shuffles_groups() -> None:
    """Without the shuffle, a group of the second convolution would see one group of the first alone."""
    unit = next(m for m in TextbookEncoder("shufflenet_v1", 5, 32).modules() if type(m).__name__ == "ShuffleUnit" and m.stride == 1).eval()
    x = torch.rand(1, 240, 4, 4, requires_grad=True)
    unit(x)[0, :80].sum().backward()
    assert all((x.grad[0, first : first + 80].abs().sum() > 0) for first in (0, 80, 160))


def test_names_and_mistakes() -> None:
    assert set(TEXTBOOK) < set(encoder_names())
    for name in TEXTBOOK:
        check_encoder(name, None)
    with pytest.raises(ConfigError, match="alexnet has no such weights"):
        check_encoder("alexnet", "imagenet")
    with pytest.raises(
        ValueError, match=r"^lenet5 has 2 stages, the last at stride 4, but 5 are asked for; set model.network.encoder_depth=2"
    ):
        TextbookEncoder("lenet5", 5, 32)
    with pytest.raises(ValueError, match="cannot be dilated"):
        TextbookEncoder("alexnet", 5, 8).make_dilated(8)
    assert isinstance(TextbookEncoder("alexnet", 5, 32).stages[0], nn.Identity)
