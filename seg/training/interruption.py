"""Signals that end a training."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from seg.errors import InputError


@contextmanager
def ended_by_signal(trainer: pl.Trainer) -> Iterator[None]:
    """Exit with 143 after SIGTERM and 130 after Ctrl-C, all ranks with it.

    Lightning alone would end with 0 after SIGTERM, and DVC would record a half-trained model as done.
    """
    received: list[int] = []

    def stop(number: int, _: Any) -> None:
        received.append(number)
        print("stopped by SIGTERM; the same command goes on from the last finished epoch", file=sys.stderr, flush=True)
        sys.exit(143)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except InputError:  # a diverged loss: the other ranks end with the first
        _end_ranks(trainer)
        raise
    except SystemExit:
        _end_ranks(trainer)
        sys.exit(143 if received else 130)  # Lightning ends with 1 after Ctrl-C
    finally:
        signal.signal(signal.SIGTERM, before)
    if received:
        sys.exit(143)


def _end_ranks(trainer: pl.Trainer) -> None:
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher.kill(signal.SIGKILL)
