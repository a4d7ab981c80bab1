"""The training step: what the loop costs beside a plain one, and what precision, layout, fused optimizers and compilation gain.

    python benchmarks/training.py step --rounds 40
    python benchmarks/training.py precision --rounds 10 --compile

Images are scenes drawn by the source `shapes`; batches are read by the project's data module and lie ready in memory. All that is
compared runs in one process, which keeps freed memory (`seg.core.environment.keep_freed_memory`), in blocks of a few steps that
take turns in an order that turns about. The first case is timed twice (A/A): the ratio of the two says how far the others can
be trusted. A ratio is the median over the rounds of (case's time / first case's time in the same round); beside it the middle half of
the rounds.

step: the trainer of `seg train` with its module and callbacks, against a plain PyTorch loop of the same network, optimizer, scheduler,
clipping and precision on the same batches. At the end both have trained the same number of steps, and their weights are compared.
Bar: at most 1.03.

precision: bf16, channels last and a fused optimizer, each alone and together, against float32, contiguous channels and an optimizer that is
not fused, in plain loops with AdamW. Bar, on a CPU with bf16: at least twice as fast. --compile adds torch.compile.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Any

Block = Callable[[], None]


@dataclass(frozen=True)
class Case:
    """What a plain loop runs with."""

    name: str
    precision: str
    channels_last: bool
    fused: bool
    compiled: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["step", "precision"])
    parser.add_argument("--model", default="unet_small", help="an option of conf/model (step, precision)")
    parser.add_argument("--size", type=int, default=128, help="height and width in pixels (step, precision)")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--block", type=int, default=4, help="steps of one case before the next one's turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="auto", help="as trainer.precision (step)")
    parser.add_argument("--compile", action="store_true", help="add cases with torch.compile (precision)")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)

    from seg.core.environment import keep_freed_memory, prepare_environment
    from seg.training.trainer import quiet

    prepare_environment()
    import torch

    torch.set_num_threads(given.threads)
    keep_freed_memory()
    quiet()
    with tempfile.TemporaryDirectory() as folder:
        {"step": step, "precision": precision}[given.what](given, Path(folder))


def step(given: argparse.Namespace, folder: Path) -> None:
    import torch

    from seg.models.hardware import best_device, choose_precision
    from seg.training.callbacks import callbacks_of
    from seg.training.module import build_module, make_limits, make_model
    from seg.training.ranks.signals import StopSignals
    from seg.training.resume.history import History
    from seg.training.step.recomputation import accelerate
    from seg.training.trainer import build_trainer

    device = best_device()
    config = configured(given, f"model={given.model}", f"trainer.precision={given.precision}", f"trainer.batch_size={given.batch}")
    kind = choose_precision(config.trainer.precision, device)
    data, batches = drawn(config, folder, given.size, max(2, given.block))
    steps = given.rounds * given.block + 1
    torch.manual_seed(config.seed)
    model = make_model(config, data)
    limits = make_limits(config, data)
    module = build_module(config, data, model, limits, kind)
    plain = [plain_loop(config, data, kind, device, model, steps) for _ in range(2)]
    accelerate(config.trainer, model, data, device)
    feed = Feed(given, batches, [loop for loop, _ in plain], device)
    callbacks = callbacks_of(config, data, folder / "scratch" / "train", History(), limits, StopSignals(False))
    trainer = build_trainer(config, callbacks, folder / "scratch" / "train", device, kind)
    trainer.fit(module, feed, torch.utils.data.DataLoader(batches[:1], batch_size=None))  # type: ignore[arg-type]
    pairs = zip(model.parameters(), plain[0][1].parameters(), strict=True)
    apart = max(float((a.detach().cpu() - b.detach().cpu()).abs().max()) for a, b in pairs)
    print(f"{given.model}, {given.batch} images of {given.size} x {given.size}, {kind} on {device.type}, {given.threads} threads")
    report(feed.times, given.block)
    print(f"largest difference of a weight after {steps} steps: {apart:g}")


class Feed:
    """Batches for the trainer. When one of its blocks is over, the plain loops have their turns; then it gets the next batch."""

    def __init__(self, given: argparse.Namespace, batches: list[Any], loops: list[Callable[[Any], None]], device: Any) -> None:
        self.given, self.batches, self.loops, self.device = given, batches, loops, device
        names = ["plain loop", "plain loop again (A/A)"]
        self.times: dict[str, list[float]] = {name: [] for name in [*names, "seg train"]}

    def __len__(self) -> int:
        return int(self.given.rounds * self.given.block) + 1

    def __iter__(self) -> Iterator[Any]:
        for number in range(self.given.rounds):
            part = [self.batches[i % len(self.batches)] for i in range(self.given.block)]
            turns = list(zip(self.times, self.loops, strict=False))[:: 1 if number % 2 else -1]
            for name, loop in turns[:1]:
                self.times[name].append(seconds(partial(run_all, loop, part), self.device))
            start = now(self.device)
            yield from part
            self.times["seg train"].append(now(self.device) - start)
            for name, loop in turns[1:]:
                self.times[name].append(seconds(partial(run_all, loop, part), self.device))
        for loop in self.loops:
            loop(self.batches[0])
        yield self.batches[0]  # the trainer does not ask again after the last one, whose time would be unknown


def precision(given: argparse.Namespace, folder: Path) -> None:
    import torch

    device = torch.device("cpu")
    cases = [
        Case("float32, contiguous, not fused", "32-true", False, False),
        Case("the same again (A/A)", "32-true", False, False),
        Case("fused", "32-true", False, True),
        Case("channels last", "32-true", True, False),
        Case("bf16", "bf16-mixed", False, False),
        Case("bf16, channels last, fused", "bf16-mixed", True, True),
    ]
    if given.compile:
        cases += [
            Case("float32, compiled", "32-true", False, False, compiled=True),
            Case("bf16, channels last, fused, compiled", "bf16-mixed", True, True, compiled=True),
        ]
    config = configured(given, f"model={given.model}", "optimizer=adamw", f"trainer.batch_size={given.batch}")
    data, batches = drawn(config, folder, given.size, given.block)
    times = measured(given, config, data, batches, cases, device)
    print(f"{given.model}, {given.batch} images of {given.size} x {given.size}, {given.threads} threads")
    report(times, given.block)


def configured(given: argparse.Namespace, *overrides: str) -> Any:
    from seg.configure.compose import compose
    from seg.configure.config import checked
    from seg.configure.template import template

    tuned = "experiment=shapes_instance" if "task=instance" in overrides else "experiment=shapes"
    return checked(compose(template() / "conf", [tuned, "trainer.max_epochs=1", *overrides])[0])


def drawn(config: Any, folder: Path, size: int, count: int) -> tuple[Any, list[Any]]:
    """The data of drawn scenes, augmented as conf/ says, and so many batches of them, in memory."""
    from seg.augment.policy import compile_policy
    from seg.data.sample import ClassInfo
    from seg.prepare.assignment import Assignment
    from seg.prepare.run import prepare
    from seg.sources.shapes import Shapes
    from seg.training.loading.datamodule import SegmentationData

    classes = [ClassInfo(c.name, (c.color[0], c.color[1], c.color[2])) for c in config.data.classes]
    scenes = max(16, 2 * config.trainer.batch_size * count)
    folder.mkdir(parents=True, exist_ok=True)
    prepare(Shapes(scenes, size, 0, classes), "shapes", classes, Assignment.of(config.data), None, folder / "prepared", 1, "none")
    policy = compile_policy(config.augment, config.targets.allow)
    batch_size = config.trainer.batch_size
    data = SegmentationData(folder / "prepared", None, policy, batch_size, batch_size, 0, config.seed, config.task.instances)
    return data, list(islice(cycle(data.train_dataloader()), count))


def measured(
    given: argparse.Namespace, config: Any, data: Any, batches: list[Any], cases: list[Case], device: Any
) -> dict[str, list[float]]:
    """Seconds of each case's block in each round, after one to warm up."""
    loops = {case.name: loop_of(case, config, data, device)[0] for case in cases}
    times: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(given.rounds + 1):
        for name in list(loops)[:: 1 if number % 2 else -1]:
            spent = seconds(partial(run_all, loops[name], batches), device)
            if number:
                times[name].append(spent)
    return times


def loop_of(case: Case, config: Any, data: Any, device: Any) -> tuple[Callable[[Any], None], Any]:
    """A plain loop's step, and its model."""
    import torch

    from seg.models.hardware import compile_in_place
    from seg.training.module import make_model

    torch.manual_seed(config.seed)
    model = make_model(config, data)
    model = model.to(memory_format=torch.channels_last if case.channels_last else torch.contiguous_format)
    trainer = config.trainer.model_copy(update={"channels_last": case.channels_last})
    fused = config.optimizer.model_copy(update={"fused": case.fused})
    changed = config.model_copy(update={"trainer": trainer, "optimizer": fused})
    loop, model = plain_loop(changed, data, case.precision, device, model, 10**6)
    if case.compiled:
        compile_in_place(model.body, case.name)
    return loop, model


def plain_loop(config: Any, data: Any, kind: str, device: Any, model: Any, steps: int) -> tuple[Callable[[Any], None], Any]:
    """A training step of a copy of the model as PyTorch's tutorials write it, and the copy."""
    import copy

    import torch

    from seg.models.finetune import Group
    from seg.training.module import build_module, make_limits

    model = copy.deepcopy(model).to(device).train()
    module = build_module(config, data, model, make_limits(config, data), kind)
    optimizer = module.make_optimizer([Group("all", list(model.parameters()), 1.0, 0)])
    scheduler = module.make_scheduler(optimizer, steps)
    dtype = torch.float16 if kind == "16-mixed" else torch.bfloat16

    def run(batch: Any) -> None:
        batch = batch.to(device, non_blocking=True)
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype, enabled=kind != "32-true"):
            loss = sum(model.losses(batch).values())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.trainer.gradient_clip)
        optimizer.step()
        scheduler.step()

    return run, model


def run_all(loop: Callable[[Any], None], batches: Any) -> None:
    for batch in batches:
        loop(batch)


def seconds(block: Block, device: Any) -> float:
    start = now(device)
    block()
    return now(device) - start


def now(device: Any) -> float:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()
    return perf_counter()


def report(times: dict[str, list[float]], steps: int) -> None:
    """A line a case: time of a step, and the ratio to the first case."""
    import numpy as np

    first = np.array(next(iter(times.values())))
    print(f"  {'':<40}{'ms a step':>10}{'ratio':>10}   middle half      times as fast")
    for name, spent in times.items():
        taken = float(np.median(spent)) / steps
        low, middle, high = np.quantile(np.array(spent) / first, [0.25, 0.5, 0.75])
        print(f"  {name:<40}{1000 * taken:>10.2f}{middle:>10.3f}   {low:.3f} to {high:.3f}   {1 / middle:.2f}")


if __name__ == "__main__":
    main()
