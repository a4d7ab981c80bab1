"""Steps of gpu.py that look at parts: the device, losses and networks against the CPU, where the host waits, compilation."""

import copy
import time
from dataclasses import replace
from typing import Any

import torch
from gpu_bench import Bench, Figures, apart, check
from gpu_speed import Ready, fitted
from gpu_waits import Third
from torch import Tensor
from torch.nn import functional as F
from training import drawn

from seg.configure.template import template
from seg.data.store import ClassCounts
from seg.loading.batch import Batch
from seg.models.hardware import autocast, choose_precision, compile_in_place, hints, set_float32_matmul
from seg.settings.targets import build
from seg.training.module import make_model

CLASSES = 4
EXACT, DRAWN = 1e-4, 2e-2
"""Largest differences from the CPU: of what follows from the images, and of what follows from the boxes that are proposed, whose order may
differ where scores are nearly equal."""

SMALL = ("model.network.encoder_depth=3", "model.network.decoder_channels=[32,16,16]", "model.stride=8")
"""A network that is compiled soon."""

OURS = {"semantic": {}, "instance": {"seg rcnn.py": 3}}
"""Waits of a step with two images that are known: which boxes hold an object, of each image, and which lie in a crowd."""

OTHERS = ("auto", "camvid", "detection", "distance", "mask_rcnn", "masks", "panoptic", "prototypes")
"""Losses of other models, or of classes of their own."""


def facts(bench: Bench) -> Figures:
    device = bench.device
    found: Figures = {"device": "cpu", "torch": torch.__version__}
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        found |= {"device": about.name, "GPUs": str(torch.cuda.device_count()), "GiB": about.total_memory / 2**30}
        found |= {
            "capability": f"{about.major}.{about.minor}",
            "CUDA": str(torch.version.cuda),
            "cuDNN": str(torch.backends.cudnn.version()),
        }
    precision = choose_precision("auto", device)
    side = 256 if bench.cpu else 8192
    for kind in (torch.float32, torch.bfloat16):
        a = torch.randn(side, side, device=device, dtype=kind)
        a @ a
        start = _now(device)
        for _ in range(10):
            a @ a
        found[f"{str(kind).removeprefix('torch.')} TFLOP/s"] = 20 * side**3 / (_now(device) - start) / 1e12
    for line in hints("auto", device, 1):
        print(line)
    return found | {"precision": precision}


def losses(bench: Bench) -> Figures:
    device, worst = bench.device, dict[str, float]()
    set_float32_matmul("highest", device)
    counts = ClassCounts([60, 30, 10, 5], [100, 100, 100, 50])
    side = 24 if bench.cpu else 256
    torch.manual_seed(0)
    logits, labels = 3 * torch.randn(2, CLASSES, side, side), torch.randint(CLASSES, (2, side, side), dtype=torch.uint8)
    labels[torch.rand(labels.shape) < 0.1] = 255
    options = sorted(path.stem for path in (template() / "conf/loss").glob("*.yaml"))
    for name in (o for o in options if o not in OTHERS):
        loss = build(bench.config(f"loss={name}").loss, ["seg"], "loss", {"class_counts": counts})
        expected = _value_and_gradient(loss, logits, labels)
        there = copy.deepcopy(loss).to(device)
        given = logits.to(device).contiguous(memory_format=torch.channels_last), labels.to(device)
        worst[name] = max(map(apart, _value_and_gradient(there, *given), expected))
        check(worst[name] < EXACT, f"loss={name}: value or gradient differ from the CPU by {worst[name]:.2g}")
        for kind in (torch.bfloat16, torch.float16):
            finite = all(bool(v.isfinite().all()) for v in _value_and_gradient(there, given[0].to(kind), given[1]))
            check(finite, f"loss={name}: is not finite with logits in {kind}")
    networks = {"U-Net": _network(bench, "semantic"), "Mask R-CNN": _network(bench, "instance")}
    return {"losses": max(worst.values()), **networks}


def waits(bench: Bench) -> Figures:
    found: Figures = {}
    for task in ("semantic", "instance"):
        config = bench.config("trainer.batch_size=2", "trainer.max_epochs=1", task=task)
        data, batches = drawn(config, bench.folder / task, 64 if bench.cpu else 256, 4)
        third = Third(bench.device)
        fitted(bench, config, data, Ready(batches, 0, bench.device, warm=4), [third])
        ours = {place: count for place, count in third.found.items() if place != "torchvision"}
        if bench.cpu:
            ours.pop("seg guard.py", None)  # looks at each loss where that costs nothing
        print(f"{task}: {dict(third.found)}")
        known = OURS[task]
        more = {place: count for place, count in ours.items() if count > known.get(place, 0)}
        check(not more, f"{task}: the third step waits for the device more often than {known}: {more}")
        found[task] = str(sum(third.found.values()))
    return found


def compile(bench: Bench) -> Figures:
    """The same losses, gradients and classes as without, in one graph that is not split."""
    device, said = bench.device, list[str]()
    # float32: that a graph is split, or computes something else, shows there
    set_float32_matmul("highest", device)
    sizes = (64, 96) if bench.cpu else (256, 384)
    config = bench.config("trainer.batch_size=2", *SMALL)
    data, batches = drawn(config, bench.folder / "data", sizes[0], 1)
    plain = make_model(config, data).to(device)
    compiled = copy.deepcopy(plain)
    compile_in_place(compiled.body, "trainer.compile", said.append, "aot_eager" if bench.cpu else "inductor")  # C++ takes minutes
    start, worst, same = time.monotonic(), 0.0, 1.0
    for size in sizes:
        batch = _resized(batches[0], size).to(device)
        for model in (plain.train(), compiled.train()):
            model.zero_grad()
            torch.stack(list(model.losses(batch).values())).sum().backward()
        gradients = zip(compiled.parameters(), plain.parameters(), strict=True)
        whole = [torch.cat([p.grad.flatten() for p in side if p.grad is not None]) for side in zip(*gradients, strict=True)]
        worst = max(worst, apart(*whole))
        with torch.inference_mode():
            maps = [model.eval().class_maps(batch.images) for model in (compiled, plain)]  # type: ignore[operator]
        same = min(same, float((maps[0] == maps[1]).float().mean()))
    check(not said, "; ".join(said))
    check(worst < 1e-3, f"gradients of the compiled network differ by {worst:.2g}")
    check(same > 0.999, f"the compiled network predicts other classes: {same:.4f} are the same")
    return {"gradients apart": worst, "classes the same": same, "seconds for two sizes": time.monotonic() - start}


def _network(bench: Bench, task: str) -> float:
    """Of a step in float32: the largest difference of a loss, or of the gradient, from the CPU."""
    small = bench.cpu or task == "semantic"
    overrides = [] if small else ["model=maskrcnn_resnet50_fpn"]
    config = bench.config("trainer.batch_size=2", *overrides, task=task)
    data, (batch, *_) = drawn(config, bench.folder / task, 64 if bench.cpu else 128, 1)
    torch.manual_seed(0)
    on_cpu = make_model(config, data).train()
    model = copy.deepcopy(on_cpu).to(bench.device, memory_format=torch.contiguous_format)  # another order of sums, even on a CPU
    with _same_draws():
        expected, found = _step(on_cpu, batch), _step(model, batch.to(bench.device))
    worst = 0.0
    for name, value in expected.items():
        difference = apart(found[name], value)
        most = DRAWN if task == "instance" and name not in ("objectness", "rpn_box_reg") else EXACT
        check(difference < most, f"{task}: {name} differs from the CPU by {difference:.2g}")
        worst = max(worst, difference)
    for precision in ("bf16-mixed", "16-mixed"):
        with autocast(precision, bench.device):
            values = _step(model, batch.to(bench.device), backward=False).values()
        check(all(bool(value.isfinite()) for value in values), f"{task}: a loss is not finite in {precision}")
    return worst


def _step(model: Any, batch: Batch, backward: bool = True) -> dict[str, Tensor]:
    found = {name.removeprefix("loss_"): value for name, value in model.losses(batch).items()}
    if backward:
        torch.stack(list(found.values())).sum().backward()
        found["gradient"] = torch.cat([p.grad.norm()[None] for p in model.parameters() if p.grad is not None]).norm()
    return found


class _same_draws:  # noqa: N801
    """torchvision draws boxes with the device's generator; here it takes the first ones."""

    def __enter__(self) -> None:
        self.real = torch.randperm
        torch.randperm = lambda n, **given: torch.arange(n, **given)  # type: ignore[assignment]

    def __exit__(self, *_: object) -> None:
        torch.randperm = self.real


def _value_and_gradient(loss: Any, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.clone(memory_format=torch.preserve_format).requires_grad_()
    value = loss(leaf, labels)
    value = sum(value.values()) if isinstance(value, dict) else value
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


def _resized(batch: Batch, size: int) -> Batch:
    images = F.interpolate(batch.images, (size, size))
    semantic = F.interpolate(batch.semantic[:, None], (size, size))[:, 0]
    return replace(batch, images=images, semantic=semantic, sizes=[(size, size)] * len(batch))


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
