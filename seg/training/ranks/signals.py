"""Signals that end a training."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl

from seg.training.private_lightning import SubprocessLauncher
from seg.training.ranks.ranks import started_by_rank_0

NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}


class StopSignals:
    """SIGTERM and Ctrl-C: the first asks the training to stop after the step under way, a second one ends it at once.

    code: the exit code of the signal that came, 143 or 130, or 0. training: whether steps are under way; if not, one ends it at once."""

    def __init__(self, says: bool) -> None:
        self.code, self.training, self.says = 0, False, says

    def install(self) -> None:
        for number in NAMES:
            signal.signal(number, self._receive)

    def _receive(self, number: int, _: Any) -> None:
        again, self.code = bool(self.code), 128 + number
        name = NAMES[signal.Signals(number)]
        if again or not self.training:
            self._say(f"ended by {name}; the same command goes on from the last checkpoint")
            sys.exit(self.code)
        self._say(f"{name}: the training stops after this step; once more, and it ends at once")

    def _say(self, text: str) -> None:
        if self.says:
            os.write(2, f"{text}\n".encode())  # print() is not reentrant, and a signal may come within it


@contextmanager
def ended_by_signal(trainer: pl.Trainer, signals: StopSignals) -> Iterator[None]:
    """Exit with 143 after SIGTERM and 130 after Ctrl-C, and end the further ranks with this one.

    Lightning alone would end with 0 after SIGTERM, and DVC would record a half-trained model as done."""
    if started_by_rank_0():  # which ends it
        yield
        return
    before = {number: signal.getsignal(number) for number in NAMES}
    signals.install()
    try:
        yield
    except BaseException:
        launcher = trainer.strategy.launcher
        if isinstance(launcher, SubprocessLauncher):
            launcher.kill(signal.SIGKILL)
        if signals.code:
            sys.exit(signals.code)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if signals.code:
        sys.exit(signals.code)
