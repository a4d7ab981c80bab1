"""Encoders of the textbooks that no library gives as a pyramid, without their classifiers' heads.

Convolutions and poolings are padded, so that a stage halves a side exactly; numbers of parameters are the papers'. From scratch: none of
the papers' weights are to be had."""

from collections.abc import Callable
from itertools import pairwise

import torch
from segmentation_models_pytorch.encoders._base import EncoderMixin
from torch import Tensor, nn

from seg.core.errors import plural

Stages = list[tuple[nn.Module, int]]
"""What leads to each stride, from 2 on, and the channels that it gives; 0 channels: the network skips this stride."""
SHUFFLE_STEM = 24


class TextbookEncoder(nn.Module, EncoderMixin):
    """A network of TEXTBOOK as an smp encoder: images -> features at the strides 1, 2, 4, ... 2 ** depth.

    ValueError where the network has fewer stages than `depth`."""

    def __init__(self, name: str, depth: int, output_stride: int) -> None:
        super().__init__()
        stages = TEXTBOOK[name]()
        if depth > len(stages):
            raise ValueError(too_deep(name, len(stages), depth))
        self.stages = nn.ModuleList(stage for stage, _ in stages[:depth])
        channels = [3, *(number for _, number in stages[:depth])]
        self._depth, self._in_channels, self._output_stride, self._out_channels = depth, 3, output_stride, channels

    def forward(self, x: Tensor) -> list[Tensor]:
        features, (height, width) = [x], x.shape[-2:]
        for number, (stage, channels) in enumerate(zip(self.stages, self._out_channels[1:], strict=True), start=1):
            if channels:
                x = stage(x)
                features.append(x)
            else:
                features.append(x.new_empty((len(x), 0, height >> number, width >> number)))
        return features

    def make_dilated(self, output_stride: int) -> None:
        raise ValueError("this encoder downsamples by pooling and cannot be dilated")


def too_deep(name: str, stages: int, depth: int) -> str:
    return (
        f"{name} has {plural(stages, 'stage')}, the last at stride {2**stages}, but {depth} are asked for; "
        f"set model.network.encoder_depth={stages} (and as many decoder_channels), or choose another encoder"
    )


class Squashed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(2 / 3 * x)


class Subsampling(Squashed):
    """LeNet's: the mean of 2 x 2 pixels, times a learned number, plus another, for each map; then the paper's tanh."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels, 1, 1)), nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.avg_pool2d(x, 2) * self.weight + self.bias)


class Connected(nn.Module):
    """LeNet's C3: each of 16 maps sees three, four or six of the six before it (table I)."""

    def __init__(self) -> None:
        super().__init__()
        near = [[(first + k) % 6 for k in range(count)] for count in (3, 4) for first in range(6)]
        self.seen = [sorted(maps) for maps in [*near, [0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5], list(range(6))]]
        self.maps = nn.ModuleList(nn.Conv2d(len(maps), 1, 5, padding=2) for maps in self.seen)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([conv(x[:, maps]) for conv, maps in zip(self.maps, self.seen, strict=True)], dim=1)


def lenet5() -> Stages:
    """LeCun, Bottou, Bengio, Haffner 1998: 6, 16 and 120 maps."""
    first = [nn.Conv2d(3, 6, 5, padding=2), Squashed(), Subsampling(6), Connected(), Squashed()]
    return [(nn.Sequential(*first), 16), (nn.Sequential(Subsampling(16), nn.Conv2d(16, 120, 5, padding=2), Squashed()), 120)]


def _conv(before: int, after: int, side: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(before, after, side, stride, side // 2, groups=groups), nn.ReLU(inplace=True)]


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, 2, 1)


def _alike() -> nn.Module:
    return nn.LocalResponseNorm(5, 1e-4 * 5, 0.75, 2.0)  # the paper's sum has alpha for each channel, torch's mean for all


def alexnet() -> Stages:
    """Krizhevsky, Sutskever, Hinton 2012; what lay on two GPUs are two groups."""
    second = nn.Sequential(_pool(), *_conv(96, 256, 5, groups=2), _alike())
    third = nn.Sequential(_pool(), *_conv(256, 384, 3), *_conv(384, 384, 3, groups=2), *_conv(384, 256, 3, groups=2))
    return [(nn.Identity(), 0), (nn.Sequential(*_conv(3, 96, 11, 4), _alike()), 96), (second, 256), (third, 256), (_pool(), 256)]


def zfnet() -> Stages:
    """Zeiler and Fergus 2014: AlexNet with smaller, denser first filters."""
    first, second = nn.Sequential(*_conv(3, 96, 7, 2)), nn.Sequential(*_conv(96, 256, 5, 2))
    third = nn.Sequential(_pool(), _alike(), *_conv(256, 384, 3), *_conv(384, 384, 3), *_conv(384, 256, 3))
    return [(first, 96), (nn.Sequential(_pool(), _alike()), 96), (second, 256), (third, 256), (_pool(), 256)]


def nin() -> Stages:
    """Network in Network (Lin, Chen, Yan 2014), its network for CIFAR-10: convolutions followed by two of 1 x 1."""

    def mlp(side: int, *channels: int) -> list[nn.Module]:
        layers = _conv(channels[0], channels[1], side)
        return layers + [layer for pair in pairwise(channels[1:]) for layer in _conv(*pair, 1)]

    second = nn.Sequential(*mlp(5, 3, 192, 160, 96), _pool(), nn.Dropout(0.5), *mlp(5, 96, 192, 192, 192))
    return [(second, 192), (nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.Dropout(0.5), *mlp(3, 192, 192, 192)), 192)]


class ShuffleUnit(nn.Module):
    """ShuffleNet's unit: grouped 1 x 1, shuffled channels, depthwise 3 x 3, grouped 1 x 1; joined to the input, or added to it."""

    def __init__(self, before: int, after: int, stride: int, groups: int) -> None:
        super().__init__()
        middle, made = after // 4, after - before if stride == 2 else after
        self.stride, self.groups = stride, groups
        whole = 1 if before == SHUFFLE_STEM else groups  # few channels are not divided
        self.reduce = nn.Sequential(nn.Conv2d(before, middle, 1, groups=whole, bias=False), nn.BatchNorm2d(middle), nn.ReLU(inplace=True))
        deep = nn.Conv2d(middle, middle, 3, stride, 1, groups=middle, bias=False)
        self.expand = nn.Sequential(
            deep, nn.BatchNorm2d(middle), nn.Conv2d(middle, made, 1, groups=groups, bias=False), nn.BatchNorm2d(made)
        )

    def forward(self, x: Tensor) -> Tensor:
        made = self.expand(nn.functional.channel_shuffle(self.reduce(x), self.groups))
        joined = torch.cat([nn.functional.avg_pool2d(x, 3, 2, 1), made], dim=1) if self.stride == 2 else x + made
        return nn.functional.relu(joined)


def shufflenet_v1() -> Stages:
    """Zhang, Zhou, Lin, Sun 2018: ShuffleNet 1x with three groups."""
    stem = nn.Sequential(nn.Conv2d(3, SHUFFLE_STEM, 3, 2, 1, bias=False), nn.BatchNorm2d(SHUFFLE_STEM), nn.ReLU(inplace=True))
    stages: Stages = [(stem, SHUFFLE_STEM), (_pool(), SHUFFLE_STEM)]
    for channels, count in ((240, 4), (480, 8), (960, 4)):
        units = [ShuffleUnit(stages[-1][1], channels, 2, 3), *(ShuffleUnit(channels, channels, 1, 3) for _ in range(count - 1))]
        stages.append((nn.Sequential(*units), channels))
    return stages


def effnet() -> Stages:
    """Freeman, Roese-Koerner, Kummert 2018, its network for CIFAR-10: a side is halved by a pooling, the other by a convolution."""

    def block(before: int, middle: int, after: int) -> nn.Sequential:
        def normed(layer: nn.Module, channels: int) -> list[nn.Module]:
            return [layer, nn.BatchNorm2d(channels), nn.LeakyReLU(inplace=True)]

        return nn.Sequential(
            *normed(nn.Conv2d(before, middle, 1, bias=False), middle),
            *normed(nn.Conv2d(middle, middle, (1, 3), padding=(0, 1), groups=middle, bias=False), middle),
            nn.MaxPool2d((1, 2)),
            *normed(nn.Conv2d(middle, middle, (3, 1), padding=(1, 0), groups=middle, bias=False), middle),
            *normed(nn.Conv2d(middle, after, (2, 1), stride=(2, 1), bias=False), after),
        )

    return [(block(3, 32, 64), 64), (block(64, 64, 128), 128), (block(128, 128, 256), 256)]


TEXTBOOK: dict[str, Callable[[], Stages]] = {make.__name__: make for make in (lenet5, alexnet, zfnet, nin, shufflenet_v1, effnet)}
