"""How far a network sees: which pixels of its input can change one value of its output, and which do; and the picture of it.

The theoretical receptive field is the region of all pixels on which an output depends (the formulas of Araujo et al. 2019,
https://doi.org/10.23915/distill.00021, give it for chains of convolutions). It is found here from its definition, for networks of any
structure: in a copy whose weights are all positive and whose activations are the identity no two paths cancel, so the derivative of an
output is not zero just where there is a path. The effective receptive field (Luo et al. 2016, https://arxiv.org/abs/1701.04128) is where
the derivative of the network itself is large."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from seg.models.tensor_file import tensors_in
from seg.pictures.sheets import save_figure

PROBES = (512, 1024, 2048, 4096)
"""Lengths in pixels of the strips that are tried, one after another, until one is longer than the field."""
WIDTH = 64
"""Pixels across a strip, at least; some networks take no narrower one."""
LARGE = 1 - 0.9545
"""Of the largest derivative; what is above belongs to the effective field, as in the paper."""
IDENTITIES = {
    *("relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "prelu", "rrelu", "elu", "celu", "selu", "gelu", "silu", "mish"),
    *("hardswish", "hardtanh", "hardtanh_", "softplus", "threshold", "dropout", "dropout2d", "feature_dropout"),
    *("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm"),
}
"""Functions of torch that let through what they get, and mix no positions but for statistics."""
MAX_POOLS = {"max_pool2d", "max_pool2d_with_indices"}
POOLS = {"adaptive_avg_pool2d", "adaptive_max_pool2d"}


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """Of a position of one output map, in pixels of the network's input, along one axis.

    size: pixels that can change it; None where they are the whole image. stride: from one position to the next. start: where the centre of
    the first position's field lies; 0 is the centre of the first pixel. pooled: whether the mean of the whole image reaches it, too, as in
    squeeze-and-excitation; size does not count that.
    """

    size: int | None
    stride: float
    start: float | None
    pooled: bool


def receptive_fields(network: nn.Module, channels: int, stride: int) -> list[ReceptiveField]:
    """The theoretical receptive field of each output map (B, K, h, w) of a network, along the vertical axis.

    Args:
        network: Maps (B, C, H, W) float to maps, alone or in lists and dicts. It is left as it is.
        channels: C.
        stride: Sides of its input are multiples of it.

    Returns:
        A field for each output with four axes, in the network's order. Normalisation is taken for a fixed scale.
    """
    twin = _positive(copy.deepcopy(network).double().eval())
    width = -(-WIDTH // stride) * stride
    fields: list[ReceptiveField] = []
    for length in PROBES:
        x = torch.rand(1, channels, -(-length // stride) * stride, width, dtype=torch.float64, requires_grad=True)
        linear = _Linear()
        with linear:
            maps = [t for t in tensors_in(twin(x)) if t.dim() == 4]
        fields = [_field(t, x, linear.pooled) for t in maps]
        if all(one.size for one in fields):
            break
    return fields


def _field(output: Tensor, x: Tensor, pooled: bool) -> ReceptiveField:
    """Of the middle position of a map, from its derivative."""
    positions, length = output.shape[2], x.shape[2]
    middle, stride = positions // 2, length / positions
    low, high = _reach(output, x, middle)
    if low == 0 or high == length - 1:
        return ReceptiveField(None, stride, None, pooled)
    if length % positions:  # as where a network has no padding
        after = _reach(output, x, middle + 1)
        stride = (sum(after) - low - high) / 2
    return ReceptiveField(high - low + 1, stride, (low + high) / 2 - middle * stride, pooled)


def _reach(output: Tensor, x: Tensor, position: int) -> tuple[int, int]:
    """The first and last row of x on which a position depends."""
    (gradient,) = torch.autograd.grad(output[0, :, position, output.shape[3] // 2].sum(), x, retain_graph=True)
    rows = gradient.abs().amax(dim=(0, 1, 3)).nonzero()
    return (int(rows[0]), int(rows[-1])) if len(rows) else (0, x.shape[2] - 1)


def _positive(network: nn.Module) -> nn.Module:
    """With positive weights that keep the size of what goes through."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(len(parameter) / parameter.numel() if parameter.dim() > 1 else 1)
            parameter.requires_grad_(False)
    return network


class _Linear(TorchFunctionMode):
    """In it activations are the identity, maxima are means, and what is pooled over the whole image is a constant (`pooled` says so)."""

    pooled = False

    def __torch_function__(self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs, name = kwargs or {}, getattr(function, "__name__", "")
        if name in IDENTITIES:
            return args[0] if args else kwargs["input"]
        if name in MAX_POOLS:
            return _mean_pool(*args, **{key: value for key, value in kwargs.items() if key != "return_indices"})
        result = function(*args, **kwargs)
        if name == "softmax":  # of attention, which sees all that it weighs
            return torch.full_like(result, 1 / max(1, round(result.numel() / float(result.detach().sum()))))
        if (name in POOLS or name == "mean") and isinstance(result, Tensor) and _over_all(args[0], result):
            self.pooled = True
            return result.detach()
        return result


def _over_all(given: Any, result: Tensor) -> bool:
    """Whether a map was brought down to one position."""
    return isinstance(given, Tensor) and given.dim() == 4 and result.numel() == given.shape[0] * given.shape[1] < given.numel()


def _mean_pool(x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False) -> Tensor:
    """As far as max pooling sees."""
    kernel, steps, edge, gaps = (_pair(value) for value in (kernel_size, stride or kernel_size, padding, dilation))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, gaps, strict=True)]
    return F.avg_pool2d(x, reach, steps, edge, ceil_mode, count_include_pad=True)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def effective_field(network: Callable[[Tensor], Any], inputs: Sequence[Tensor]) -> np.ndarray:
    """The mean size of the derivative of a network's middle output by the pixels of its input.

    Args:
        network: Maps (1, C, h, w) float32 to maps; the finest with the most positions counts.
        inputs: Such images, all of one size.

    Returns:
        (h, w) float64, whose largest value is 1; zeros where nothing depends on the input.
    """
    total: Tensor | None = None
    for given in inputs:
        x = given.clone().requires_grad_(True)
        output = max((t for t in tensors_in(network(x)) if t.dim() == 4), key=lambda t: t.shape[2] * t.shape[3])
        middle = output[0, :, output.shape[2] // 2, output.shape[3] // 2]
        # signs of the channels at random, so that no two of them cancel in each image
        signs = torch.randn(middle.shape, generator=torch.Generator().manual_seed(0))
        (gradient,) = torch.autograd.grad((middle * signs.to(middle)).sum(), x)
        size = gradient[0].abs().sum(dim=0).double()
        total = size if total is None else total + size
    assert total is not None, "no input was given"
    field = total.cpu().numpy()
    return field / max(float(field.max()), 1e-300)


def effective_side(field: np.ndarray) -> float:
    """The side in pixels of the square that is as large as the region of large derivatives."""
    return math.sqrt(int((field > LARGE).sum()))


def save_field(path: Path, field: np.ndarray, theoretical: ReceptiveField, side: float) -> None:
    """The effective field (h, w) as a map of colours, from its logarithm, with the theoretical field as a frame; and its middle row.

    side: in pixels, of the effective field.
    """
    size, start = theoretical.size, theoretical.start or 0.0
    height, width = field.shape
    figure = Figure(figsize=(9.5, 4.6))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1))
    logarithm = np.log10(np.maximum(field, 1e-4))
    extent = (-width / 2, width / 2, height / 2, -height / 2)
    shown = left.imshow(logarithm, cmap="viridis", vmin=-4, vmax=0, extent=extent)
    if size:
        left.add_patch(Rectangle((start - size / 2, start - size / 2), size, size, fill=False, edgecolor="#d55e00", linewidth=1.5))
    left.set_xlim(-width / 2, width / 2)
    left.set_ylim(height / 2, -height / 2)
    bar = figure.colorbar(shown, ax=left, shrink=0.8, ticks=[-4, -3, -2, -1, 0])
    bar.ax.set_yticklabels(["< 0.0001", "0.001", "0.01", "0.1", "1"])
    told = f"{size} pixels (frame)" if size else "the whole image"
    left.set_title(f"what one output pixel sees: {told}\neffective: as large as a square of {side:.0f} pixels", fontsize=9)
    left.set_xlabel("pixels of the network's input, from its middle")
    row = field.max(axis=0)
    right.semilogy(np.arange(width) - width / 2, np.maximum(row, 1e-6), color="#0072b2", linewidth=1)
    if size and size < width:
        for x in (start - size / 2, start + size / 2):
            right.axvline(x, color="#d55e00", linewidth=1.5)
    right.set_title("largest influence in each column of pixels", fontsize=9)
    right.set_xlabel("pixels of the network's input, from its middle")
    right.set_ylabel("size of the derivative, of its largest")
    right.grid(alpha=0.3)
    figure.tight_layout()
    save_figure(figure, path)
