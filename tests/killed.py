"""Trainings in processes of their own that end themselves, or are told to end, at an exact moment."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seg.schema import Config

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["seg.stages.train", "albumentations"])  # imported once; a fork of it starts in no time


def train(config: Config, folder: Path, moment: tuple[str, int] | None = None, number: int = signal.SIGKILL) -> int:
    """Train in `folder`, with outputs in out/, scratch in scratch/ and what is said in said.txt; the exit code, negative of a signal.

    moment: (name of one of MOMENTS, how many of them); there the process gets the signal `number`.
    """
    process = SERVER.Process(target=_run, args=(config, folder, moment, number))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _run(config: Config, folder: Path, moment: tuple[str, int] | None, number: int) -> None:
    os.setpgrp()
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.environ["SEG_SCRATCH"] = str(folder / "scratch")
    if moment:
        owner, name = MOMENTS[moment[0]]()
        _strike(owner, name, moment[1], number)
    from seg.cli import fail
    from seg.errors import InputError
    from seg.stages import train

    try:
        train.run(config, folder / "out")
    except InputError as error:
        fail(str(error))


def _strike(owner: Any, name: str, times: int, number: int) -> None:
    """Before the call of that number of owner.name, the process gets the signal."""
    act, calls = getattr(owner, name), []

    def struck(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == times:
            os.kill(os.getpid(), number)
        return act(*arguments, **options)

    setattr(owner, name, struck)


def _module() -> Any:
    from seg.training.module import SegmentationModule

    return SegmentationModule


def _history() -> Any:
    from seg.training.history import History

    return History


def _scratch() -> Any:
    from seg.scratch import Scratch

    return Scratch


MOMENTS: dict[str, Callable[[], tuple[Any, str]]] = {
    "step": lambda: (_module(), "training_step"),
    "validation step": lambda: (_module(), "validation_step"),
    "validation's end": lambda: (_module(), "on_validation_epoch_end"),
    "file written, not in place": lambda: (Path, "replace"),
    "file being written": lambda: (os, "fsync"),
    "outputs": lambda: (_history(), "write"),
    "outputs being put in place": lambda: (os, "replace"),
    "outputs written": lambda: (_scratch(), "clear"),
}
"""What is called then, and first struck."""
