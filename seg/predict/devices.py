"""Several devices that share out work: a process for each, which takes the next task as soon as it is free."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import torch

from seg.core.environment import CORES, end_with_parent, keep_freed_memory, num_cores
from seg.core.errors import ConfigError, DataError
from seg.models.hardware import device_of, idle_gpus

Task = TypeVar("Task")
Answer = TypeVar("Answer")


def devices_of(count: int | str, accelerator: str | None) -> list[str | None]:
    """What `accelerator` is for each of `count` devices; several CPUs are as many processes. ConfigError where there are not so many.

    count: auto: all GPUs, or one CPU.
    """
    device = device_of(accelerator or "auto")
    there = torch.cuda.device_count() if device.type == "cuda" else 1
    if count == 1 or (count == "auto" and there == 1):
        for line in idle_gpus(device, 1, "predict.devices=auto predicts on all of them"):
            print(line)
        return [accelerator]
    number = there if count == "auto" else int(count)
    if device.index is not None:
        raise ConfigError(f"predict.devices={count}: predict.accelerator={accelerator} is a single GPU; set predict.accelerator=gpu")
    if device.type == "mps" or (device.type == "cuda" and number > there):
        raise ConfigError(f"predict.devices={count}: this machine has {there} GPU(s); set predict.devices=auto, or predict.accelerator=cpu")
    return [f"gpu:{place}" if device.type == "cuda" else "cpu" for place in range(number)]


def shared_out(
    devices: Sequence[str | None], start: Callable[[str | None], Callable[[Task], Answer]], tasks: Iterable[Task]
) -> Generator[Answer, None, None]:
    """What each task gives, in their order. Close the iterator to end the processes.

    start: gives, in each process, what answers its tasks on a device. The first error of a task is raised, and ends all; DataError where
    a process dies.
    """
    context, before = multiprocessing.get_context("forkserver"), set(multiprocessing.active_children())
    context.set_forkserver_preload(["seg.stages.predict"])  # imported once
    free = context.SimpleQueue()
    for device in devices:
        free.put(device)
    with ProcessPoolExecutor(len(devices), context, _begin, (free, start, max(1, num_cores() // len(devices)))) as pool:
        try:
            yield from pool.map(_answer, tasks)
        except BrokenProcessPool:
            what = "a process that predicts was killed (by the system, if memory ran out), and all others were ended"
            fix = "what is written is whole, and the same command with --skip goes on"
            raise DataError(f"predict.devices: {what}; {fix}") from None
        finally:
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            pool.shutdown(cancel_futures=True)


_own: dict[str, Any] = {}  # of a process: what answers its tasks


def _begin(free: Any, start: Callable[[str | None], Callable[[Any], Any]], cores: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    signal.signal(signal.SIGTERM, _stop)
    end_with_parent()
    keep_freed_memory()
    os.environ[CORES] = str(cores)
    torch.set_num_threads(min(cores, torch.get_num_threads()))
    _own["start"], _own["device"] = start, free.get()


def _stop(*_: object) -> None:
    """Leave the task, and what is half written with it, and take no other."""
    _own["stopped"] = True
    sys.exit(128 + signal.SIGTERM)


def _answer(task: Any) -> Any:
    if "stopped" in _own:
        raise SystemExit
    if "answer" not in _own:
        _own["answer"] = _own["start"](_own["device"])
    return _own["answer"](task)
