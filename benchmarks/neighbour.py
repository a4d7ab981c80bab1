"""What programs that keep a core busy each cost a training and a prediction on the CPU, by the number of threads.

    env -u OMP_NUM_THREADS python benchmarks/neighbour.py semantic
    env -u OMP_NUM_THREADS python benchmarks/neighbour.py instance

Images a second of the drawn shapes, without loading: of the trainer of `seg train` with its callbacks, and of what `seg predict` calls, for
each setting of `runtime.threads`; and of a plain PyTorch loop of the same network, batches and precision, with as many threads as torch
takes by itself. The time in which auto chooses counts. `comes`: one neighbour starts when a third of the time is over, and the rest counts.
Prints a table in Markdown.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any

os.environ["GOMP_SPINCOUNT"] = "1000"  # as the command line has it

import torch
from training import configured, drawn, plain_loop

from seg.core.environment import keep_freed_memory, num_cores
from seg.models.hardware import autocast, choose_precision
from seg.predict.api import predictor_of, settings_of
from seg.stages.train import write_outputs
from seg.training.callbacks import callbacks_of
from seg.training.choosing.choose import Chosen
from seg.training.module import build_module, make_limits, make_model
from seg.training.ranks.signals import StopSignals
from seg.training.resume.history import History
from seg.training.step.recomputation import accelerate
from seg.training.trainer import build_trainer, quiet

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
BUSY = "import time; end = time.time() + 300\nwhile time.time() < end: pass"
SITUATIONS = {"quiet": 0, "one neighbour": 1, "two neighbours": 2, "one that comes": -1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["semantic", "instance"])
    parser.add_argument("--seconds", type=float, default=7, help="of each measurement")
    parser.add_argument("--size", type=int, default=128, help="height and width of the images in pixels")
    parser.add_argument("--work", choices=["train", "predict"], nargs="+", default=["train", "predict"])
    given = parser.parse_args()
    keep_freed_memory()
    quiet()
    torch_has = torch.get_num_threads()
    settings: list[str] = list(dict.fromkeys(["auto", "1", str(num_cores())]))
    with tempfile.TemporaryDirectory() as name:
        runs = Runs(given.task, given.size, Path(name))
        columns = [*(f"threads={s}" for s in settings), f"plain loop, {torch_has}"]
        print(f"| {given.task}, images/s | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}", flush=True)
        for work in given.work:
            for situation, count in SITUATIONS.items():
                found = []
                for setting in [*settings, None]:
                    torch.set_num_threads(torch_has)
                    clock = Clock(given.seconds, count)
                    with clock.neighbours():
                        getattr(runs, work)(setting, clock)
                    found.append(clock.rate)
                print(f"| {work}, {situation} | {' | '.join(f'{rate:.1f}' for rate in found)} |", flush=True)


class Clock:
    """Gives batches as long as there is time, and starts the neighbours: `count` of them, or, if it is -1, one later."""

    def __init__(self, seconds: float, count: int) -> None:
        self.seconds, self.count, self.running = seconds, count, list[int]()
        self.images, self.spent = 0, 1.0

    @contextmanager
    def neighbours(self) -> Iterator[None]:
        try:
            self._start(max(0, self.count))
            yield
        finally:
            for process in self.running:
                os.kill(process, signal.SIGKILL)

    def _start(self, count: int) -> None:
        """Programs of somebody else: a child's time counts as this program's own."""
        for _ in range(count):
            started = subprocess.run(["sh", "-c", f"{sys.executable} -c '{BUSY}' >/dev/null & echo $!"], stdout=subprocess.PIPE, check=True)
            self.running.append(int(started.stdout))

    def feed(self, batches: Sequence[Any]) -> Iterator[Any]:
        """Batches, of which the first one warms up."""
        yield batches[0]
        start, late = perf_counter(), self.count < 0
        end, change = start + self.seconds * (2 if late else 1), start + self.seconds / 3
        for batch in cycle(batches):
            if (now := perf_counter()) >= end:
                break
            if late and now >= change:
                self._start(1)
                late, self.images, start = False, 0, perf_counter()
            yield batch
            self.images += len(batch)
        self.spent = perf_counter() - start

    @property
    def rate(self) -> float:
        return self.images / self.spent


class Feed:
    """A loader of batches whose number nobody knows."""

    def __init__(self, clock: Clock, batches: Sequence[Any]) -> None:
        self.clock, self.batches = clock, batches

    def __len__(self) -> int:
        return 5000

    def __iter__(self) -> Iterator[Any]:
        return self.clock.feed(self.batches)


class Runs:
    def __init__(self, task: str, size: int, folder: Path) -> None:
        self.task, self.folder = task, folder
        config = self.config("1")
        self.precision = choose_precision(config.trainer.precision, CPU)
        self.data, self.batches = drawn(config, folder, size, 8)
        self.train("1", Clock(1.0, 0), folder / "model")
        self.images = [batch.images for batch in self.batches]

    def config(self, setting: str) -> Any:
        return configured(
            argparse.Namespace(), f"task={self.task}", "trainer.accelerator=cpu", f"runtime.threads={setting}", "runtime.progress=none"
        )

    def train(self, setting: str | None, clock: Clock, out: Path | None = None) -> None:
        config = self.config(setting or "1")
        torch.manual_seed(0)
        model, limits, history = make_model(config, self.data), make_limits(config, self.data), History()
        if setting is None:
            loop, _ = plain_loop(config, self.data, self.precision, CPU, model, 5000)
            for batch in clock.feed(self.batches):
                loop(batch)
            return
        module = build_module(config, self.data, model, limits, self.precision)
        accelerate(config.trainer, model, self.data, CPU)
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            scratch = Path(name) / "train" / "here"
            callbacks = callbacks_of(config, self.data, scratch, history, limits, StopSignals(False))
            trainer = build_trainer(config, callbacks, scratch, CPU, self.precision)
            validation = torch.utils.data.DataLoader(self.batches[:1], batch_size=None)  # type: ignore[arg-type]
            trainer.fit(module, validation if out else Feed(clock, self.batches), validation)
            if out:
                out.mkdir()
                write_outputs(config, self.data, scratch, out, history, lambda _: Chosen())

    def predict(self, setting: str | None, clock: Clock) -> None:
        threads = None if setting is None else setting if setting == "auto" else int(setting)
        predictor = predictor_of([self.folder / "model/best.ckpt"], settings_of([], ROOT), threads)
        network: Any = predictor.network
        call: Callable[[Any], Any] = network.predict
        if setting is None:
            model = network.model

            def call(images: Any) -> Any:
                with torch.inference_mode(), autocast(self.precision, CPU):
                    return model.predict(images)

        for images in clock.feed(self.images):
            call(images)


if __name__ == "__main__":
    main()
