"""Who works over many images: processes of this machine, or, in `seg.runtime.cluster`, workers of Ray. The answers are the same."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from seg.core.environment import CORES, end_with_parent, keep_freed_memory, num_cores
from seg.core.errors import DataError

Task = TypeVar("Task")
Answer = TypeVar("Answer")
Make = Callable[[str | None], Callable[[Task], Answer]]
"""Makes, in a worker, what answers its tasks on a device. It goes to other processes: a function of a module, or a `partial` of one."""

ADVICE = "have less at a time: smaller images, or fewer workers (runtime.workers)"


class Engine:
    """Processes of this machine. alone_below: images for which starting workers costs more than it gains."""

    workers, alone_below = "processes", 64

    def cores(self) -> int:
        """Processor cores that there are for workers."""
        return num_cores()

    def results(
        self, make: Make[Task, Answer], tasks: Sequence[Task], devices: Sequence[str | None], advice: str = ADVICE
    ) -> Generator[Answer, None, None]:
        """What each task gives, in their order; a worker for each of `devices`. Close the iterator to end the workers.

        The first error of a task is raised, as what it is, and ends all; DataError, with `advice`, where the system kills workers."""
        if len(devices) == 1:
            yield from map(make(devices[0]), tasks)
            return
        context, before = multiprocessing.get_context("forkserver"), set(multiprocessing.active_children())
        context.set_forkserver_preload([getattr(make, "func", make).__module__])  # imported once
        free = context.SimpleQueue()
        for device in devices:
            free.put(device)
        with ProcessPoolExecutor(len(devices), context, _begin, (free, make, max(1, num_cores() // len(devices)))) as pool:
            try:
                yield from pool.map(_answer, tasks)
            except BrokenProcessPool:
                what = "a process that works over the images was killed (by the system, if memory ran out), and all others were ended"
                raise DataError(f"{what}; {advice}") from None
            except BaseException:  # an error, or nobody wants more
                for process in set(multiprocessing.active_children()) - before:
                    process.terminate()
                pool.shutdown(cancel_futures=True)
                raise


LOCAL = Engine()
_own: dict[str, Any] = {}  # of a process: what answers its tasks


def _begin(free: Any, make: Callable[[str | None], Callable[[Any], Any]], cores: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    signal.signal(signal.SIGTERM, _stop)
    end_with_parent()
    keep_freed_memory()
    os.environ[CORES] = str(cores)
    _own["make"], _own["device"] = make, free.get()


def _stop(*_: object) -> None:
    """Leave the task, and what is half written with it, and take no other."""
    _own["stopped"] = True
    sys.exit(128 + signal.SIGTERM)


def _answer(task: Any) -> Any:
    if "stopped" in _own:
        raise SystemExit
    if "answer" not in _own:
        _own["answer"] = _own["make"](_own["device"])
    return _own["answer"](task)
