"""What the steps of gpu.py share: configurations, drawn data, a small trained model, and trainings in processes."""

import fcntl
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from gpu_waits import Third
from torch import nn

from seg.configure.compose import compose
from seg.configure.config import Config, checked
from seg.configure.template import template
from seg.core.errors import InputError
from seg.models.hardware import device_of
from seg.stages import augment, prepare, train

Figures = dict[str, float | str]

SETTLED = ("trainer.epoch_steps=null", "trainer.max_epochs=2", "plan.minutes=1", "plan.pretrained=false", "model.weights=null")
KNOWN = ("augment.crop=null", "model.window=null", "evaluate.batch_size=8", "runtime.progress=lines", "trainer.postprocess=false")
TINY = ("runtime.threads=1", "runtime.workers=0")
SHORT = "SEG_GPU_SHORT"
"""The variable that tells the bytes which rank 1 may use of its GPU."""


@dataclass(frozen=True)
class Bench:
    """folder: of the step. shared: of what several steps use. cpu: whether everything is tiny. more: overrides of every configuration."""

    folder: Path
    shared: Path
    cpu: bool
    more: tuple[str, ...] = ()

    @cached_property
    def device(self) -> torch.device:
        """On which everything runs."""
        if not self.cpu and not torch.cuda.is_available():
            raise RuntimeError("this machine has no CUDA GPU that torch can use; with --cpu the steps run on the CPU")
        return torch.device("cpu" if self.cpu else "cuda")

    @property
    def accelerator(self) -> str:
        """Its name in settings."""
        return "cpu" if self.cpu else "gpu"

    def config(self, *overrides: str, task: str = "semantic") -> Config:
        """The configuration of an experiment on drawn shapes, on the device."""
        experiment = "shapes" if task == "semantic" else "shapes_instance"
        paths = [
            f"paths.prepare={self.shared / 'prepare'}",
            f"paths.augment={self.shared / 'augment'}",
            f"paths.train={self.folder / 'train'}",
        ]
        size = ["data.source.num_images=32", f"data.source.size={64 if self.cpu else 256}"]
        given = [
            f"experiment={experiment}",
            *SETTLED,
            *KNOWN,
            *(TINY if self.cpu else ()),
            *size,
            *paths,
            f"trainer.accelerator={self.accelerator}",
            *self.more,
            *overrides,
        ]
        return checked(compose(template() / "conf", given)[0])

    def data(self) -> None:
        """Prepare drawn shapes and compile the augmentation, for trainings."""
        with self._alone():
            if (self.shared / "augment").exists():
                return
            config = self.config()
            prepare.run(config, self.shared / "prepare")  # type: ignore[arg-type]
            augment.run(config, self.shared / "augment")  # type: ignore[arg-type]

    def checkpoint(self) -> Path:
        """A small model, trained for two epochs."""
        self.data()
        path = self.shared / "model/best.ckpt"
        with self._alone():
            if not path.exists():
                train.run(self.config(), path.parent)  # type: ignore[arg-type]
        return path

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other step within the block."""
        self.shared.mkdir(exist_ok=True)
        with open(self.shared / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def train(self, config: Config, out: Path, ranks: int = 1, strike: "Strike | None" = None, **variables: str) -> tuple[list[int], str]:
        """Train in processes of their own, as torchrun starts them if they are several: (exit codes, what they said)."""
        self.data()
        said = self.folder / f"{out.name}.txt"
        group, port = os.getpgid(0), str(20000 + os.getpid() % 20000)
        arguments = (
            config,
            out,
            ranks,
            strike,
            variables | {"MASTER_PORT": port, "SEG_SCRATCH": str(self.folder / "scratch")},
            said,
            group,
        )
        # CUDA does not work in a fork of a process that has used it
        context = multiprocessing.get_context("fork" if self.cpu else "forkserver")
        context.set_forkserver_preload(["gpu_bench"])
        processes: list[Any] = [context.Process(target=_train, args=(rank, *arguments)) for rank in range(ranks)]
        for process in processes:
            process.start()
        while any(process.is_alive() for process in processes):
            time.sleep(0.1)
            if any(process.exitcode for process in processes):  # as torchrun does
                for process in processes:
                    process.terminate()
        text = said.read_text()
        print(text)
        return [process.exitcode or 0 for process in processes], text


@dataclass(frozen=True)
class Strike:
    """A signal that a rank gets at a training step."""

    step: int
    signal: int
    rank: int = 0


def _train(
    rank: int, config: Config, out: Path, ranks: int, strike: Strike | None, environment: dict[str, str], said: Path, group: int
) -> None:
    os.setpgid(0, group)  # it ends with the step
    os.environ |= environment
    several = torch.cuda.device_count() >= ranks or config.trainer.accelerator == "cpu"
    if ranks > 1:
        places = (rank, 0, ranks) if several else (0, rank, 1)  # on one GPU they are as two machines
        local, node, each = map(str, places)
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": str(ranks), "RANK": str(rank), "TORCHELASTIC_RUN_ID": "gpu"}
        os.environ |= {"LOCAL_RANK": local, "GROUP_RANK": node, "LOCAL_WORLD_SIZE": each}
        if not several:
            _over_gloo()
    for number in (1, 2):
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    multiprocessing.set_start_method("fork", force=True)
    if strike and strike.rank == rank:
        _strike(strike)
    if rank == 0 and ranks > 1:
        _count_waits(config.trainer.accelerator)
    if rank == 1 and SHORT in environment:
        short_memory(config.trainer.accelerator, int(environment[SHORT]))
    try:
        train.run(config, out)  # type: ignore[arg-type]
    except InputError as error:
        print(f"error: {error}", flush=True)
        os._exit(1)


def _over_gloo() -> None:
    """NCCL takes no two ranks on one GPU."""
    from seg.training import trainer
    from seg.training.trainer import Replicated

    trainer.make_strategy = lambda *_: Replicated(process_group_backend="gloo")  # type: ignore[assignment]


def _count_waits(accelerator: str) -> None:
    made = train.callbacks_of
    train.callbacks_of = lambda *given: [Third(device_of(accelerator)), *made(*given)]  # type: ignore[assignment]


def short_memory(accelerator: str, size: int) -> None:
    """Let this process have so many bytes of the GPU from now on; on a CPU refuse more than three images at once."""
    if accelerator != "cpu":
        torch.cuda.set_per_process_memory_fraction(min(1.0, size / torch.cuda.get_device_properties(0).total_memory))
        return
    forward = nn.Conv2d.forward

    def refused(self: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        if x.device.type != "meta" and len(x) > 3:
            raise torch.OutOfMemoryError("out of memory: this is a rehearsal")
        return forward(self, x)

    nn.Conv2d.forward = refused  # type: ignore[method-assign]


def _strike(strike: Strike) -> None:
    from seg.training.module import SegmentationModule

    step, calls = SegmentationModule.training_step, []

    def struck(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == strike.step:
            os.kill(os.getpid(), strike.signal)
        return step(*given)

    SegmentationModule.training_step = struck  # type: ignore[method-assign]


def signalled(code: int) -> bool:
    """Whether an exit code is that of SIGTERM."""
    return code in (-signal.SIGTERM, 128 + signal.SIGTERM)


def check(fine: bool, said: str) -> None:
    """End the step where something is not as it should be."""
    if not fine:
        raise AssertionError(said)


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-12))
