"""What a network costs. Layer by layer: parameters, multiply-adds and activations, counted while it works on an image. And the memory of a
training step and of a prediction: predicted from the sizes of all tensors, of which none is allocated; and measured.

Multiply-adds are those of convolutions, matrix products and attention, as papers count them: half of what
`torch.utils.flop_counter` counts, which knows the formula of each operation. Normalisation, activations and resizing count nothing."""

import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from seg.core.private_torch import TorchDispatchMode, without_values
from seg.data.sample import Sample, no_instances
from seg.loading.batch import Batch, collate
from seg.models.base import SegmentationModel, Size
from seg.models.hardware import is_out_of_memory, recover
from seg.models.tensor_file import tensors_in
from seg.training.step.batch_size import meter_of


@dataclass(slots=True)
class Layer:
    """A module that works by itself.

    name: its place in the network. kind: its class. parameters: its own numbers that can be learned; those that another layer has, too,
    count at the first one. multiply_adds: of one image. outputs: the shape of each of its outputs, of one image; a layer that works several
    times has several. activations: numbers in them.
    """

    name: str
    kind: str
    parameters: int = 0
    multiply_adds: int = 0
    outputs: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def activations(self) -> int:
        return sum(prod(shape) for shape in self.outputs)


def layers_of(network: nn.Module, work: Callable[[], Any]) -> list[Layer]:
    """The layers of a network in the order in which they work; those that do not work in `work` come last, if they have parameters.

    Args:
        network: The network, in the mode in which it is to be described.
        work: Lets the network work on one image.

    Returns:
        A row for each module without parts, and for each one that computes something beside its parts. Their sums are those of the network.
    """
    names = {module: name for name, module in network.named_modules()}
    layers: dict[str, Layer] = {}
    counter = FlopCounterMode(display=False)
    within: list[list[int]] = []  # of each module at work: operations before it, and those of its parts

    def begins(module: nn.Module, _: Any) -> None:
        within.append([counter.get_total_flops(), 0])

    def ends(module: nn.Module, _: Any, output: Any) -> None:
        before, of_parts = within.pop()
        all_of_it = counter.get_total_flops() - before
        if within:
            within[-1][1] += all_of_it
        layer = layers.setdefault(names[module], Layer(names[module], type(module).__name__))
        layer.multiply_adds += (all_of_it - of_parts) // 2
        if next(module.children(), None) is None:
            layer.outputs += [tuple(t.shape[1:]) for t in tensors_in(output)]

    hooks = [hook for module in names for hook in (module.register_forward_pre_hook(begins), module.register_forward_hook(ends))]
    try:
        with counter, _slow_attention():
            work()
    finally:
        for hook in hooks:
            hook.remove()
    seen: set[Tensor] = set()
    for module, name in names.items():
        own = set(module.parameters(recurse=False)) - seen
        seen |= own
        if own:
            layers.setdefault(name, Layer(name, type(module).__name__)).parameters = sum(p.numel() for p in own)
    if rest := counter.get_total_flops() // 2 - sum(layer.multiply_adds for layer in layers.values()):  # beside all modules
        layers[""] = Layer("", type(network).__name__, multiply_adds=rest)
    return [layer for layer in layers.values() if layer.parameters or layer.multiply_adds or layer.outputs]


@contextmanager
def _slow_attention() -> Iterator[None]:
    """Attention by products of matrices, which torch counts; quicker ways, of which some take over on some machines, are not counted."""
    quick = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(quick)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at the fullest moment. None where they are not known: a network whose work depends on what it sees is not predicted, and
    what does not fit is not measured."""

    predicted: float | None
    measured: float | None = None


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that are made in it and alive, and remembers the most since `start`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: set[int] = set()

    def start(self, tensors: Sequence[Tensor]) -> None:
        """Forget what was needed until now. tensors: that were there before."""
        self.add(tensors)
        self.most = self.now

    def add(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if (key := id(storage)) not in self._known:
                self._known.add(key)
                size = storage.nbytes()
                self.now += size
                weakref.finalize(storage, self._forget, key, size)
        self.most = max(self.most, self.now)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        if function is torch.ops.aten.bincount.default:  # whose length depends on values, but for the labels' own
            function, args, kwargs = torch.ops.aten.zeros.default, ([args[2] if len(args) > 2 else (kwargs or {})["minlength"]],), {}
        result = function(*args, **(kwargs or {}))
        self.add(tensors_in(result))
        return result


def predicted(work: Callable[[LiveBytes], None]) -> float | None:
    """The most bytes of tensors that `work` has at once; nothing is allocated or computed. None where its course depends on values.

    work: makes all of its tensors itself, but those that it gives to `start`.
    """
    live = LiveBytes()
    try:
        with warnings.catch_warnings(action="ignore"), without_values(), live:
            work(live)
    except Exception:  # torch has many kinds of errors for what a tensor without values cannot do
        return None
    return float(live.most)


def noise(images: int, size: Size, channels: int, classes: int, things: int) -> Batch:
    """A batch of noise, with regions of 16 x 16 pixels of random classes, and `things` squares an image as instances of the last class."""
    drawn, (height, width) = np.random.default_rng(0), size
    side = max(1, int((height * width / max(1, 2 * things)) ** 0.5))
    samples = []
    for number in range(images):
        image = drawn.integers(0, 256, (height, width, channels), dtype=np.uint8)
        regions = drawn.integers(0, classes, (-(-height // 16), -(-width // 16)), dtype=np.uint8)
        semantic = np.kron(regions, np.ones((16, 16), np.uint8))[:height, :width]
        instances, categories, crowd = no_instances(height, width)
        if things:
            cells = np.arange(1, 1 + (height // side) * (width // side), dtype=np.int32).reshape(height // side, width // side)
            grid = np.kron(np.where(cells <= things, cells, 0), np.ones((side, side), np.int32))
            instances = np.pad(grid, ((0, height - grid.shape[0]), (0, width - grid.shape[1])))[..., None]
            count = int(instances.max())
            categories, crowd = np.full(count, classes - 1, np.int32), np.zeros(count, bool)
        samples.append(Sample(f"noise {number}", image, np.ascontiguousarray(semantic), instances, categories, crowd))
    return collate(samples)


def of_training(
    make: Callable[[], SegmentationModel], optimizer: Callable[[nn.Module], torch.optim.Optimizer], batch: Batch
) -> float | None:
    """What `two_steps` take in float32. make: the model, from scratch."""

    def work(live: LiveBytes) -> None:
        model = make()
        live.start([*model.parameters(), *model.buffers(), batch.images, batch.semantic, *batch.instances])
        two_steps(model, optimizer(model), batch)

    return predicted(work)


def two_steps(model: SegmentationModel, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    """Of training; the second has the optimizer's state."""
    model.train()
    for _ in range(2):
        torch.stack(list(model.losses(batch).values())).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def of_prediction(make: Callable[[], SegmentationModel], images: Tensor) -> float | None:
    """What the network takes for images (B, C, H, W) uint8, without what is made of its outputs."""

    def work(live: LiveBytes) -> None:
        model = make().eval()
        live.start([*model.parameters(), *model.buffers(), images])
        with torch.no_grad():
            model.body(model.network_input(images)[0])

    return predicted(work)


def measured(known: float | None, model: SegmentationModel, work: Callable[[], None], device: torch.device) -> Memory:
    """What the device has in use at most while the model, which is there already, works.

    known: what was predicted, which is not tried where it does not fit.
    """
    meter = meter_of(device, 1)
    if known and known > meter.limit:
        return Memory(known)
    try:
        return Memory(known, meter.peak(work) + sum(t.nbytes for t in [*model.parameters(), *model.buffers()]))
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    recover(device)
    return Memory(known)
