"""Workers of a Ray cluster: https://docs.ray.io/en/latest/ray-core/actors.html. A worker is an actor: what it makes once, it keeps.

Ray starts and watches the actors. Which of them takes which task is decided here: Ray's own pool sends a lost task to nobody else."""

import logging
import os
import re
import secrets
import signal
import socket
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from seg.core.environment import CORES, keep_freed_memory, num_cores
from seg.core.errors import ConfigError, DataError
from seg.runtime.engine import ADVICE, LOCAL, Answer, Engine, Make, Task

SILENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""No report to Ray's makers, no copy of the working folder, data included, to the workers, and no warning of a change to come."""

TOKEN = secrets.token_hex(32)
"""Of Ray that is started here: its ports are open to the network, and whoever speaks to them runs code."""

AHEAD = 8  # tasks a worker that are taken up before the oldest one is answered: so many answers wait in memory
AT_HAND = 2  # tasks that a worker has at once, so that it need not wait for the next one
TRIES = 3  # workers that one task may lose
SECONDS_TO_ANSWER, SECONDS_TO_START = 5, 60  # after which an address has no cluster; after which a wait for workers is told

_open: list["Cluster"] = []  # a command within a block of `engine_of` shares its cluster


class Cluster(Engine):
    """Workers join as soon as the cluster has room for them; those that are there begin. One that dies is replaced, and another one does
    its tasks again. embedded: Ray was started here, for all workers that are asked for; elsewhere each takes a core, and perhaps a GPU."""

    workers, alone_below = "workers of Ray", 0

    def __init__(self, ray: ModuleType, embedded: bool) -> None:
        self.ray, self.embedded = ray, embedded

    def cores(self) -> int:
        return num_cores() if self.embedded else max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    def gpus(self) -> int:
        """GPUs of all machines."""
        return int(self.ray.cluster_resources().get("GPU", 0))

    def results(
        self, make: Make[Task, Answer], tasks: Sequence[Task], devices: Sequence[str | None], advice: str = ADVICE
    ) -> Generator[Answer, None, None]:
        ray = self.ray
        options = {"num_cpus": 0 if self.embedded else 1, "num_gpus": int(devices[0] == "gpu"), "max_restarts": 0}
        starts, given = ray.remote(_Actor).options(**options), (ray.put(make), devices[0], str(Path.cwd()))
        actors: list[Any] = []  # None in place of one that died
        busy: dict[Any, tuple[int, int | None]] = {}  # by what Ray will answer: who, and the number of the task; None: joins
        free, again, lost, answers = deque[int](), deque[int](), Counter[int | None](), dict[int | None, Answer]()
        taken = first = 0

        def join() -> None:
            actors.append(starts.remote(*given))
            busy[actors[-1].ready.remote()] = len(actors) - 1, None

        try:
            for _ in devices:
                join()
            while first < len(tasks):
                while free and (again or taken < min(len(tasks), first + AHEAD * len(devices))):
                    number, who = again.popleft() if again else taken, free.popleft()
                    taken = max(taken, number + 1)
                    busy[actors[who].answer.remote(tasks[number])] = who, number
                who, done = busy.pop(there := self._waited(list(busy), nobody=not taken))
                try:
                    answers[done] = deepcopy(ray.get(there))  # arrays are views into Ray's memory, which hold all that came with them
                except ray.exceptions.RayTaskError as error:
                    raise error.cause if isinstance(error.cause, Exception) else error from error
                except ray.exceptions.RayError as error:
                    lost[done] += 1
                    if lost[done] == TRIES:
                        raise DataError(f"runtime.engine=ray: {TRIES} workers died one after another ({_line(error)}); {advice}") from None
                    if done is not None:
                        again.append(done)
                    if actors[who] is not None:
                        print(f"runtime.engine=ray: a worker died, its tasks are done again ({_line(error)})", file=sys.stderr, flush=True)
                        ray.kill(actors[who])  # it may only be out of reach
                        actors[who], free = None, deque(other for other in free if other != who)
                        join()
                    continue
                del lost[done]
                free.extend([who] * (AT_HAND if done is None else 1))
                while first in answers:
                    yield answers.pop(first)
                    first += 1
            with suppress(ray.exceptions.RayError):
                ray.get([actor.leave.remote() for actor in actors if actor], timeout=SECONDS_TO_ANSWER)
        finally:
            for actor in filter(None, actors):
                ray.kill(actor)
            ray.wait(list(busy), num_returns=len(busy), timeout=SECONDS_TO_ANSWER) if busy else None  # they write no more

    def _waited(self, awaited: list[Any], nobody: bool) -> Any:
        """The first of these that is there. nobody: no worker has joined yet."""
        there, _ = self.ray.wait(awaited, num_returns=1, timeout=SECONDS_TO_START if nobody and not self.embedded else None)
        if not there:
            print("runtime.engine=ray: waits for a worker; all cores or GPUs of the cluster may be in use", file=sys.stderr, flush=True)
        return there[0] if there else self.ray.wait(awaited, num_returns=1)[0][0]


class _Actor:
    """A worker, in a process of its own, perhaps on another machine. It stands in the folder of the process that asks."""

    def __init__(self, make: Callable[[str | None], Callable[[Any], Any]], device: str | None, folder: str) -> None:
        self.make, self.device, self.folder = make, device, folder
        self.worker: Callable[[Any], Any] | None = None

    def ready(self) -> None:
        """Answer as soon as it is there."""

    def leave(self) -> None:
        """Close the files that are open: another machine may see them only then."""
        self.worker = None

    def answer(self, task: Any) -> Any:
        if self.worker is None:  # here, so that an error is the task's
            try:
                os.chdir(self.folder)
            except OSError as error:
                fix = "all machines of the cluster need the same folders, of a shared file system"
                raise ConfigError(f"{self.folder}: is not there on {socket.gethostname()} ({error.strerror}); {fix}") from None
            keep_freed_memory()
            os.environ[CORES] = "1"
            self.worker = self.make(self.device)
        return self.worker(task)


@contextmanager
def engine_of(kind: str, address: str | None) -> Iterator[Engine]:
    """What `runtime.engine` and `runtime.address` name. Of no address, Ray is started on this machine, and ended behind the block.

    ConfigError where Ray is not installed, or no cluster answers."""
    if kind == "local":
        yield LOCAL
        return
    os.environ.update(SILENT)
    own = {} if address or "ray" in sys.modules else {"RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "token")}  # read at its import
    try:
        with patch.dict(os.environ, own):
            import ray
    except ImportError:
        raise ConfigError("runtime.engine=ray: needs the package ray; pip install ray") from None
    if _open or ray.is_initialized():  # by the program that this is a part of
        yield _open[-1] if _open else Cluster(ray, embedded=False)
        return
    short = None if len(tempfile.gettempdir()) < 30 else "/tmp"  # for the paths of Ray's sockets, which may have 107 letters
    with tempfile.TemporaryDirectory(prefix="seg-ray-", dir=short, ignore_cleanup_errors=True) as folder:
        on_end = signal.getsignal(signal.SIGTERM)
        try:
            try:
                _start(ray, address, folder)
            except (OSError, ValueError, RuntimeError, ImportError, ray.exceptions.RayError) as error:
                fix = "start one (ray start --head), or set runtime.address=null for this machine"
                what = f"runtime.address={address}: no Ray cluster answers; {fix}" if address else "runtime.engine=ray: Ray does not start"
                raise ConfigError(f"{what} ({_line(error)})") from None
            with suppress(ValueError):  # of a thread
                signal.signal(signal.SIGTERM, on_end)  # which Ray has made its own
            _open.append(Cluster(ray, embedded=address is None))
            yield _open[-1]
        finally:
            _open.clear()
            ray.shutdown()


def _start(ray: ModuleType, address: str | None, folder: str) -> None:
    """Connect to Ray, or start it on this machine: for its processes alone, which see the modules that this one sees.

    Two parts are left out by a patch of what Ray does not document, tried with ray 2.60. Its dashboard would ask the network for the cloud
    that it runs in, even where it has nothing to show. Its listener would print a page for each worker that dies."""
    if found := re.search(r"([^/]+):(\d+)$", address or ""):
        socket.create_connection((found[1].strip("[]"), int(found[2])), SECONDS_TO_ANSWER).close()  # Ray would try for minutes
    around, own = dict[str, str](), dict[str, Any](log_to_driver=False, logging_level=logging.ERROR)
    if not address:
        own |= {"num_cpus": num_cores(), "include_dashboard": False, "_temp_dir": folder}
        around = {"RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN", TOKEN), "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    dashboard = patch("ray._private.services.start_api_server", return_value=(None, None), create=True)
    with patch.dict(os.environ, around), dashboard, patch("ray._private.worker.listen_error_messages", create=True):
        ray.init(address=address or "local", **own)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:150]
