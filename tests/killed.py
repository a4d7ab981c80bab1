"""Trainings in processes of their own that end themselves, or are told to end, at an exact moment."""

import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from forkserver import SERVER

from seg.configure.config import Config


class Moment(NamedTuple):
    """Before call number `count` of what MOMENTS has by that name, the process gets the signal."""

    name: str
    count: int
    signal: int = signal.SIGKILL


def train(config: Config, folder: Path, moment: Moment | None = None, largest_file: int | None = None) -> int:
    """Train in `folder`, with outputs in out/, scratch in scratch/ and what is said in said.txt; the exit code, negative of a signal.

    largest_file: bytes that a file may have (RLIMIT_FSIZE); writing more fails as on a full disk.
    """
    process = SERVER.Process(target=_train, args=(config, folder, moment, largest_file))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _train(config: Config, folder: Path, moment: Moment | None, largest_file: int | None) -> None:
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    for number in (1, 2):
        os.dup2(os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC * (number == 1)), number)
    multiprocessing.set_start_method("fork", force=True)  # of loading processes, as where `seg train` starts them
    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    train_here(config, folder, moment)


def train_here(config: Config, folder: Path, moment: Moment | None) -> None:
    """Train in this process, as `seg train` does."""
    from seg.cli import fail
    from seg.core.errors import InputError
    from seg.stages import train

    os.environ["SEG_SCRATCH"] = str(folder / "scratch")
    if moment:
        _strike(moment)
    try:
        train.run(config, folder / "out")
    except InputError as error:
        fail(str(error))
    sys.stdout.flush()


def _strike(moment: Moment) -> None:
    owner, name, counts = MOMENTS[moment.name]()
    act, calls = getattr(owner, name), []

    def struck(*arguments: Any, **options: Any) -> Any:
        if counts(*arguments):
            calls.append(1)
            if len(calls) == moment.count:
                os.kill(os.getpid(), moment.signal)
        return act(*arguments, **options)

    setattr(owner, name, struck)


def _always(*_: Any) -> bool:
    return True


def _to_outputs(source: Any, _: Any) -> bool:
    return Path(source).parent.name == ".partial" and Path(source).suffix != ".partial"


def _module() -> Any:
    from seg.training.module import SegmentationModule

    return SegmentationModule


def _history() -> Any:
    from seg.training.resume.history import History

    return History


def _scratch() -> Any:
    from seg.core.scratch import Scratch

    return Scratch


MOMENTS: dict[str, Callable[[], tuple[Any, str, Callable[..., bool]]]] = {
    "step": lambda: (_module(), "training_step", _always),
    "validation step": lambda: (_module(), "validation_step", _always),
    "validation's end": lambda: (_module(), "on_validation_epoch_end", _always),
    "file being written": lambda: (os, "fsync", _always),
    "file being put in place": lambda: (os, "replace", _always),
    "outputs": lambda: (_history(), "write", _always),
    "outputs being put in place": lambda: (os, "replace", _to_outputs),
    "outputs written": lambda: (_scratch(), "clear", _always),
}
"""(owner, name, which of its calls count) of a function."""
