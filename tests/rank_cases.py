"""What two ranks do in tests, each in a process of its own (see gloo.py)."""

import hashlib
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins import Precision
from limited import MESSAGE, Limited
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from seg.data.sample import Sample, no_instances
from seg.loading.batch import collate
from seg.metrics.semantic import SemanticMetrics
from seg.models.finetune import make_plan
from seg.models.semantic import SemanticModel
from seg.models.settings import Finetune
from seg.training.loading.datamodule import SegmentationData
from seg.training.module import SegmentationModule
from seg.training.ranks.ranks import Ranks
from seg.training.ranks.signals import StopSignals
from seg.training.resume.checkpoints import SaveWithin
from seg.training.resume.history import EpochMeans
from seg.training.step import batch_size, exchange
from seg.training.step.exchange import Exchange, share_buffers
from seg.training.step.limits import Limits
from seg.training.trainer import Replicated

SLOW, LAYERS = 0.03, 16


class Network(nn.Module):
    """A layer whose weights lie in another order in memory, one for rank 1 alone, and one that nobody uses; and a buffer that moves."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.norm = nn.BatchNorm2d(5)
        self.second, self.own, self.unused = nn.Conv2d(5, 2, 1), nn.Linear(2, 2), nn.Linear(7, 7)
        self.register_buffer("moved", torch.zeros(3))
        self.register_buffer("still", torch.zeros(3))

    def forward(self, x: Tensor, own: bool) -> Tensor:
        self.moved += x.mean()
        out = self.second(self.norm(self.first(x)))
        return (self.own(out.mean((2, 3))) if own else out).square().mean()


def counted(name: str, calls: list[tuple[str, str, int]]) -> Any:
    real = getattr(dist, name)

    def call(tensor: Tensor, *given: Any, **named: Any) -> Any:
        calls.append((name, str(tensor.dtype), tensor.numel()))
        return real(tensor, *given, **named)

    return call


def averaged(rank: int, compressed: bool) -> dict[str, Any]:
    """Two micro-batches, of which the last is a step's last; the first layer learns from the second step on."""
    exchange.SMALLEST_BUCKET = 100  # bytes, so that there are several buckets
    torch.manual_seed(0)
    network = Network()
    own = Exchange(network, compressed)
    found: dict[str, Any] = {}
    for step in range(2):
        network.first.requires_grad_(step == 1)
        network.zero_grad()
        torch.manual_seed(10 * step + rank)
        images = torch.randn(2, 4, 3, 6, 6)
        learned = [p for p in network.parameters() if p.requires_grad]
        own.begin(learned)
        network(images[0], rank == 1).backward()
        assert own.sent == []
        own.last()
        network(images[1], rank == 1).backward()
        early = len(own.sent)
        alone = [None if p.grad is None else p.grad.clone() for p in learned]
        every: list[Any] = [None] * 2
        dist.all_gather_object(every, alone)
        calls: list[tuple[str, str, int]] = []
        before = dist.all_reduce, dist.broadcast
        dist.all_reduce, dist.broadcast = counted("all_reduce", calls), counted("broadcast", calls)
        assert own.finish(failed=False)
        dist.all_reduce, dist.broadcast = before
        for parameter, (a, b) in zip(learned, zip(*every, strict=True), strict=True):
            if a is None and b is None:
                assert parameter.grad is None
                continue
            mean = sum(torch.zeros_like(parameter) if g is None else g / 2 for g in (a, b))
            assert parameter.grad is not None
            assert parameter.grad.stride() == parameter.stride()
            torch.testing.assert_close(parameter.grad, mean, rtol=2**-7 if compressed else 0, atol=1e-3 if compressed else 0)
        found[f"step {step}"] = early, len(own.buckets), [call for call in calls if call[0] == "broadcast" or "uint8" in call[1]]
    found["moved"], found["statistics"] = network.moved.tolist(), network.norm.running_mean.tolist()  # type: ignore[union-attr]
    share_buffers(network)
    found["shared"] = network.norm.running_mean.tolist()  # type: ignore[union-attr]
    return found


class Delayed:
    """An exchange over a slow link: one call after the other, each of which takes SLOW seconds."""

    free = 0.0

    def __init__(self, tensor: Tensor, *_: Any, **__: Any) -> None:
        self.done = Delayed.free = max(time.perf_counter(), Delayed.free) + SLOW

    def wait(self) -> None:
        time.sleep(max(0.0, self.done - time.perf_counter()))


class SlowBackward(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        time.sleep(SLOW)
        return gradient


def overlapped(rank: int) -> list[float]:
    """How long the last backward pass and the exchange take together, six times, if each takes LAYERS * SLOW by itself."""
    network = nn.Sequential(*(nn.Linear(512, 512, bias=False) for _ in range(LAYERS)))  # each a bucket
    own, found = Exchange(network), []
    real, dist.all_reduce = dist.all_reduce, lambda t, *a, **k: Delayed(t) if k.get("async_op") else real(t, *a, **k)
    for _ in range(6):
        own.begin(list(network.parameters()))
        x = torch.randn(1, 512)
        for layer in network:
            x = layer(SlowBackward.apply(x))
        dist.barrier()
        start = time.perf_counter()
        own.last()
        x.sum().backward()
        assert own.finish(failed=False)
        found.append(time.perf_counter() - start)
    return found


def failing(rank: int) -> list[Any]:
    """Rank 1 runs out of memory in the middle of its backward pass, when some buckets are on their way."""
    exchange.SMALLEST_BUCKET = 100
    torch.manual_seed(rank)
    network = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(6)))
    own, parameters = Exchange(network), list(network.parameters())
    found: list[Any] = []
    for fails in (True, False):
        network.zero_grad()
        own.begin(parameters)
        own.last()
        x, hooks = torch.ones(1, 8), []
        if fails and rank == 1:

            def run_out(*_: Any) -> None:
                raise torch.OutOfMemoryError(MESSAGE)

            hooks = [network[2].register_full_backward_hook(run_out)]
        failed = False
        try:
            network(x).sum().backward()
        except torch.OutOfMemoryError:
            failed = True
            network.zero_grad()
        found.append(len(own.sent))
        found.append(own.finish(failed))
        for hook in hooks:
            hook.remove()
    return [*found, torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]).tolist()]


class Endless:
    """A device on which memory errors alone tell the limit."""

    limit = 1e9

    def __init__(self, *_: object) -> None: ...

    def peak(self, step: Any) -> float:
        step()
        return 0.0


class Synchronised(nn.SyncBatchNorm):
    """Waits for the other ranks as its base does, which refuses to work on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        group = self.process_group or dist.group.WORLD
        if self.training and dist.get_world_size(group) > 1:
            dist.all_reduce(torch.zeros(8), group=group)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training)


def searched(rank: int, prepared: Path) -> tuple[int, list[int], bool]:
    """Rank 1 has memory for 3 images, rank 0 for 7: (what was found, what was tried, whether batch norms synchronise again)."""
    batch_size.meter_of, batch_size.SHARED = Endless, ()  # type: ignore[assignment]
    tried: list[int] = []
    network = Limited(3, 6, (7, 3)[rank])
    network.layers[1] = norm = Synchronised(8)
    network.register_forward_pre_hook(lambda _, given: tried.append(len(given[0])))
    model = SemanticModel(network, cross_entropy, ["a"] * 6, [120.0] * 3, [60.0] * 3, 1, 1.0, 0.0)
    trainer: Any = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        optimizers=[torch.optim.AdamW(model.parameters(), 0.1)],
        num_devices=1,
        is_global_zero=rank == 0,
        precision_plugin=Precision(),
    )
    data = SegmentationData(prepared, None, None, 8, 8, 0, 0, False)
    return batch_size.find_batch_size(trainer, model, data, 16), tried, norm.process_group is None


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels.long(), ignore_index=255)


def thawed(rank: int) -> list[dict[str, str]]:
    """The stages of an encoder that thaw one after another, as the parts of a training on two ranks: digests of each after each epoch."""
    torch.manual_seed(0)
    network = smp.Unet("resnet18", encoder_weights=None, decoder_channels=(8, 8, 8, 8, 8), classes=2)
    thaw = Finetune(name="thaw", freeze_epochs=1, unfreeze_every=1, frozen_stages=3, frozen_norms=False, lr_factor=0.5)
    plan = make_plan(network, network, thaw, 3, 3)
    optimizer = torch.optim.SGD([{"params": g.parameters} for g in plan.groups], lr=0.01, momentum=0.9)
    own, images, found = Exchange(network), torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(1)), []
    for epoch in range(3):
        plan.start_epoch(network, epoch)
        for step in range(2):
            optimizer.zero_grad()
            own.begin([p for p in network.parameters() if p.requires_grad])
            own.last()
            network(images[4 * step + 2 * rank :][:2]).square().mean().backward()
            assert own.finish(failed=False)
            optimizer.step()
        parts = {stage: network.encoder.get_submodule(stage).parameters() for stage in ("layer2", "layer3", "layer4")}
        found.append({s: hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in part)).hexdigest() for s, part in parts.items()})
    return found


class Told(Callback):
    """Notes where each step, and the validation, begins among the calls of `torch.distributed`; stands first."""

    def __init__(self, calls: list[tuple[Any, ...]]) -> None:
        self.calls = calls

    def on_train_batch_start(self, *_: Any) -> None:
        self.calls.append(("step",))

    def on_validation_start(self, *_: Any) -> None:
        self.calls.append(("validation",))

    def on_train_epoch_end(self, *_: Any) -> None:
        self.calls.append(("end",))


def trained(rank: int, folder: Path) -> list[tuple[Any, ...]]:
    """A training on two ranks: each collective with the tensor's device, type and size, and whether it is of all ranks."""
    calls: list[tuple[Any, ...]] = []

    def noted(name: str) -> Any:
        real = getattr(dist, name)

        def call(*given: Any, **named: Any) -> Any:
            tensor = next((v for v in given if isinstance(v, Tensor)), None)
            facts = () if tensor is None else (tensor.device.type, str(tensor.dtype).removeprefix("torch."), tensor.numel())
            calls.append((name, *facts, named.get("group") is None, named.get("async_op", False)))
            return real(*given, **named)

        return call

    for name in ("all_reduce", "broadcast", "all_gather", "barrier", "broadcast_object_list", "all_gather_object", "reduce"):
        setattr(dist, name, noted(name))
    rng = np.random.default_rng(rank)
    images = [rng.integers(256, size=(12, 10, 3), dtype=np.uint8) for _ in range(8)]
    samples = [Sample(f"{rank}-{n}", image, image[..., 0] % 3, *no_instances(12, 10)) for n, image in enumerate(images)]
    given: Any = DataLoader([collate(samples[n : n + 2]) for n in range(0, 8, 2)], batch_size=None)  # type: ignore[arg-type]
    torch.manual_seed(0)
    network = Limited(3, 3, 8)
    model = SemanticModel(network, cross_entropy, ["a", "b", "c"], [120.0] * 3, [60.0] * 3, 1, 1.0, 0.0)
    plan: Any = SimpleNamespace(groups=[SimpleNamespace(parameters=list(model.parameters()))], start_epoch=lambda *_: None)
    limits, signals = Limits(1, lambda *_: 0), StopSignals(False)
    module = SegmentationModule(
        model,
        plan,
        lambda groups: torch.optim.SGD(groups[0].parameters, 0.1),
        lambda optimizer, steps: torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, steps),
        lambda: SemanticMetrics(["a", "b", "c"]),
        0,
        limits,
        1.0,
    )
    callbacks = [Told(calls), EpochMeans(), limits, Ranks("same", False), SaveWithin(folder / "last.ckpt", None, signals)]
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = pl.Trainer(
        accelerator="cpu", devices=2, strategy=Replicated(), max_epochs=1, callbacks=callbacks, num_sanity_val_steps=0, **quiet
    )
    trainer.fit(module, given, given)
    return calls
