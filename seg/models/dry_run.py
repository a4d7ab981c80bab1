"""Whether a network can take the images that it is going to see, found out before training: shapes alone, nothing is computed."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from seg.errors import ConfigError
from seg.models.base import SegmentationModel, Size

ONE_VALUE = "Expected more than 1 value per channel"


def check_sizes(model: SegmentationModel, channels: int, batch_size: int, training: Sequence[Size], evaluation: Sequence[Size]) -> None:
    """Raise ConfigError where the network cannot take a batch of one of these sizes, with the reason and what to change.

    training: (height, width) of images in batches of `batch_size`; evaluation: of images that are predicted, alone perhaps.
    """
    for mode, sizes, count in ((True, training, batch_size), (False, evaluation, 1)):
        seen: dict[Size, Size] = {}
        for size in sizes:
            x, _ = model.network_input(torch.zeros(1, channels, *size, dtype=torch.uint8))
            seen.setdefault((x.shape[-2], x.shape[-1]), size)
        for padded, size in seen.items():
            _check(model, (count, channels, *padded), size, mode)


def _check(model: SegmentationModel, shape: tuple[int, ...], size: Size, training: bool) -> None:
    was_training = model.body.training
    try:
        model.body.train(training)
        given = _forward(model.body, shape)
    except (RuntimeError, ValueError, AssertionError, IndexError, KeyError, TypeError) as error:
        raise ConfigError(_explain(model, " ".join(str(error).split())[:300] or type(error).__name__, shape, size)) from error
    finally:
        model.body.train(was_training)
    model.check_body(given, (shape[-2], shape[-1]))


def _forward(network: nn.Module, shape: tuple[int, ...]) -> Any:
    """The network's output, on the meta device; where that fails, of zeros, by a copy, as not every network knows that device."""
    state: dict[str, Tensor] = {name: t.to("meta") for name, t in (*network.named_parameters(), *network.named_buffers())}
    try:
        with torch.no_grad(), torch.device("meta"):
            return functional_call(network, state, (torch.empty(shape),))
    except Exception as error:
        if ONE_VALUE in str(error):
            raise
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            return copy.deepcopy(network)(torch.zeros(min(shape[0], 2), *shape[1:]))


def _explain(model: SegmentationModel, reason: str, shape: tuple[int, ...], size: Size) -> str:
    height, width = shape[-2:]
    image = f"images of {size[0]}x{size[1]} pixels" + (f" (the network sees {height}x{width})" if size != (height, width) else "")
    if ONE_VALUE in reason:
        return (
            f"trainer.batch_size={shape[0]}: the network comes down to a single pixel, and batch normalisation cannot learn from one value "
            f"a channel, with {image}; set trainer.batch_size=2 or more, and have as many images, or use larger images"
        )
    name = f"model.network: {type(model.network).__name__}"
    if "match model" in reason:
        return (
            f"{name} does not take {image} ({reason}); its encoder has one input size: add +model.network.dynamic_img_size=true (a ViT) "
            f"or +model.network.img_size=[{height},{width}] (Swin), or choose another encoder"
        )
    if "divisible by" in reason:
        return f"{name} does not take {image} with model.stride={model.stride} ({reason}); set model.stride to that divisor"
    return f"{name} does not take {image} ({reason}); raise model.stride or the images' size, or choose another model or encoder"
