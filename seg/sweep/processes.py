"""The trainings of a sweep: each a process of its own, so that it leaves no memory behind, and its end is the trial's alone."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from seg.configure.compose import literal
from seg.core.environment import CORES, num_cores
from seg.sweep.trials import Trial
from seg.training.watch.study import PRUNED

OUTPUT = "output.txt"  # in a trial's folder: what its trainings print
INTERRUPTED = (130, 143)  # exit codes after Ctrl-C and SIGTERM
PATIENCE = 60.0  # seconds that a training has to end after SIGTERM, before it is killed


@dataclass(slots=True)
class Training:
    """A trial's training. slot: its place among those at once, from 0."""

    trial: Trial
    slot: int
    process: subprocess.Popen[bytes]
    started: float
    read_from: int  # where in the output file this process began

    @property
    def seconds(self) -> float:
        """That the process has run."""
        return time.monotonic() - self.started

    def error(self) -> str | None:
        """What the process ended with, in a line; None where it ended well, or was pruned."""
        code = self.process.returncode
        if code in (0, PRUNED):
            return None
        if code < 0:
            return f"killed by {signal.Signals(-code).name}" + (", perhaps for want of memory" if code == -signal.SIGKILL else "")
        with open(self.trial.folder / OUTPUT, "rb") as file:
            file.seek(self.read_from)
            lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("error: ")] or lines or [f"exit code {code}"]
        return said[-1].removeprefix("error: ").strip()

    @property
    def interrupted(self) -> bool:
        """Whether the process was asked to end, by somebody else."""
        return self.process.returncode in (*INTERRUPTED, -signal.SIGTERM, -signal.SIGINT)


def start(trial: Trial, slot: int, fixed: Sequence[str], environment: dict[str, str], program: Sequence[str]) -> Training:
    """Start `program` with the overrides of all trials and of this one. It keeps the trial's lock as long as it lives."""
    folder = literal(trial.folder.as_posix())
    own = [f"runtime.trial={folder}", f"hydra.run.dir={folder}"]
    with open(trial.folder / OUTPUT, "ab") as output:
        began = output.tell()  # the process moves it
        process = subprocess.Popen(
            [*program, *fixed, *trial.overrides, *own],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
            pass_fds=(trial.lock.fileno(),),
            start_new_session=True,  # Ctrl-C is for the sweep, which ends its trainings itself
        )
        return Training(trial, slot, process, time.monotonic(), began)


def stop(trainings: Sequence[Training]) -> None:
    """End trainings, so that each goes on from its last checkpoint when its trial is taken up again."""
    for training in trainings:
        training.process.terminate()
    until = time.monotonic() + PATIENCE
    for training in trainings:
        try:
            training.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(training.process.pid, signal.SIGKILL)
            training.process.wait()


def share(slot: int, jobs: int, devices: int | str | list[int], gpus: Sequence[str]) -> dict[str, str]:
    """The variables that give one of several trainings its share of the machine; those that the user has set stay.

    devices: the setting trainer.devices. gpus: those that there are, as CUDA_VISIBLE_DEVICES names them."""
    if jobs == 1:
        return {}
    each = devices if isinstance(devices, int) else 1
    cores = max(each, num_cores() // jobs)
    chosen = {CORES: str(cores)}
    if "OPENCV_FOR_THREADS_NUM" not in os.environ:
        chosen["OPENCV_FOR_THREADS_NUM"] = str(cores // each)
    if len(gpus) > 1 and isinstance(devices, int) and devices <= len(gpus):
        first = slot * devices % (len(gpus) - len(gpus) % devices)
        chosen["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[first : first + devices])
    return chosen


def visible_gpus() -> list[str]:
    """The names of CUDA's GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [name for name in named.split(",") if name] if named is not None else [str(i) for i in range(torch.cuda.device_count())]
