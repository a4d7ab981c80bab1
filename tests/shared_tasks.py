"""What workers do with their tasks in tests."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tiny import Blobs

from seg.core.errors import DataError
from seg.raw.record import Item, Record


def doubled(_: str | None) -> Callable[[int], int]:
    return lambda task: 2 * task


def refusing(_: str | None) -> Callable[[int], int]:
    def answer(task: int) -> int:
        if task == 3:
            raise DataError("three.png: is refused")
        return task

    return answer


def dying(_: str | None) -> Callable[[int], int]:
    def answer(task: int) -> int:
        if task == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return task

    return answer


def sleepy(_: str | None) -> Callable[[int], int]:
    def answer(task: int) -> int:
        time.sleep(0 if task == 0 else 60)
        return os.getpid()

    return answer


def arrays(_: str | None) -> Callable[[int], np.ndarray]:
    """Too large to be sent along with an answer's own bytes; Fortran's order, which is to stay."""
    return lambda task: np.full((300, 200), task, np.int64, order="F")


def die_once(marker: Path) -> None:
    """Kill this process, as the system does where memory runs out, unless another one has died so before."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Deadly(Blobs):
    """Kills the first worker that reads the scene in the middle."""

    marker: Path = Path()

    def read(self, item: Item) -> Record:
        if item.image_id == f"blobs{self.count // 2}":
            die_once(self.marker)
        return super().read(item)


def dying_behind(make: Callable[[str | None], Callable[[Any], Any]], marker: Path, device: str | None) -> Callable[[Any], Any]:
    """As `make`, but the first worker that has done its second task dies before it says so."""
    answer, done = make(device), 0

    def answered(task: Any) -> Any:
        nonlocal done
        answers, done = answer(task), done + 1
        if done == 2:
            die_once(marker)
        return answers

    return answered
