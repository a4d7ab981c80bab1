"""Whether a network can take the images that it is going to see, found out before training: shapes alone, nothing is computed."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from seg.core.errors import ConfigError
from seg.models.base import SegmentationModel, Size
from seg.models.tensor_file import tensors_in

ONE_VALUE = "Expected more than 1 value per channel"


def check_sizes(model: SegmentationModel, channels: int, batch_size: int, training: Sequence[Size], evaluation: Sequence[Size]) -> None:
    """Raise ConfigError where the network cannot take a batch of one of these sizes, with the reason and what to change.

    training: (height, width) of images in batches of `batch_size`; evaluation: of images that are predicted, alone perhaps."""
    for mode, sizes, count in ((True, training, batch_size), (False, evaluation, 1)):
        seen: dict[Size, Size] = {}
        for size in sizes:
            seen.setdefault(_padded(model, channels, size), size)
        for padded, size in seen.items():
            _check(model, (count, channels, *padded), size, mode)


def freeze_unused(model: SegmentationModel, channels: int, size: Size) -> list[str]:
    """Stop the gradients of the parameters on which the losses of images of `size` do not depend; returns their names.

    Encoders keep the stages beyond `encoder_depth`, transformers their classifier, and heads may weigh nothing: processes that train
    together would wait for gradients of these in vain, and no count of parameters should name them."""
    with torch.enable_grad():
        given, state = _forward(model.body, (2, channels, *_padded(model, channels, size)))
        learned = {name: state[name] for name, p in model.body.named_parameters() if p.requires_grad}
        total = torch.stack([t.float().sum() for t in tensors_in(model.learned(given)) if t.requires_grad]).sum()
        gradients = torch.autograd.grad(total, list(learned.values()), allow_unused=True)
    unused = [name for name, gradient in zip(learned, gradients, strict=True) if gradient is None]
    for name in unused:
        model.body.get_parameter(name).requires_grad = False
    return unused


def _padded(model: SegmentationModel, channels: int, size: Size) -> Size:
    x, _ = model.network_input(torch.zeros(1, channels, *size, dtype=torch.uint8))
    return x.shape[-2], x.shape[-1]


def _check(model: SegmentationModel, shape: tuple[int, ...], size: Size, training: bool) -> None:
    try:
        with modes_kept(model.body), torch.no_grad():
            model.body.train(training)
            given, _ = _forward(model.body, shape)
    except (RuntimeError, ValueError, AssertionError, IndexError, KeyError, TypeError) as error:
        raise ConfigError(_explain(model, " ".join(str(error).split())[:300] or type(error).__name__, shape, size)) from error
    model.check_body(given, (shape[-2], shape[-1]))


@contextmanager
def modes_kept(network: nn.Module) -> Iterator[None]:
    """Each module is in training or evaluation mode afterwards as it was before."""
    modes = {module: module.training for module in network.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _forward(network: nn.Module, shape: tuple[int, ...]) -> tuple[Any, dict[str, Tensor]]:
    """The output and the parameters that it depends on, on the meta device; where that fails, for zeros, of a copy.

    Not every network knows that device."""
    state: dict[str, Tensor] = {name: b.to("meta") for name, b in network.named_buffers()}
    state |= {name: p.detach().to("meta").requires_grad_(p.requires_grad) for name, p in network.named_parameters()}
    try:
        with torch.device("meta"):
            return functional_call(network, state, (torch.zeros(shape),)), state
    except Exception as error:
        if ONE_VALUE in str(error):
            raise
        with torch.random.fork_rng(devices=[]):
            twin = copy.deepcopy(network)
            return twin(torch.zeros(min(shape[0], 2), *shape[1:])), dict(twin.named_parameters())


def _explain(model: SegmentationModel, reason: str, shape: tuple[int, ...], size: Size) -> str:
    height, width = shape[-2:]
    image = f"images of {size[0]}x{size[1]} pixels" + (f" (the network sees {height}x{width})" if size != (height, width) else "")
    if ONE_VALUE in reason:
        what = f"the network comes down to a single pixel, and batch normalisation cannot learn from one value a channel, with {image}"
        return f"trainer.batch_size={shape[0]}: {what}; set trainer.batch_size=2 or more, and have as many images, or use larger images"
    name = f"model.network: {type(model.body).__name__}"
    if "match model" in reason:
        fix = f"add +model.network.dynamic_img_size=true (a ViT) or +model.network.img_size=[{height},{width}] (Swin)"
        return f"{name} does not take {image} ({reason}); its encoder has one input size: {fix}, or choose another encoder"
    if "divisible by" in reason:
        return f"{name} does not take {image} with model.stride={model.stride} ({reason}); set model.stride to that divisor"
    return f"{name} does not take {image} ({reason}); raise model.stride or the images' size, or choose another model or encoder"
