"""What the processes of several devices do with their tasks in tests."""

import os
import signal
from collections.abc import Callable

from seg.core.errors import DataError


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
