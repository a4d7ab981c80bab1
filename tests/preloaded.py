"""A `python` that starts `-m seg`, `-m dvc` and scripts in no time: it forks a process that has imported the libraries, and nothing of seg.

What the process runs has the caller's folder, environment, arguments and streams, imports seg from its folder, gets the signals that
the caller gets, and gives it its exit code; where the caller is killed, so is it. Its own sys.executable is this program. What numba
compiles of a file that this checkout has too, it keeps and finds beside the checkout's: no copy of the project compiles it again. A
further rank of a training, which looks at its parent, sees the caller's. Any other command line goes to the real interpreter. One server
serves all workers of a run of the tests, and ends with them.
"""

import atexit
import contextlib
import fcntl
import filecmp
import functools
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from importlib import import_module
from pathlib import Path

LIBRARIES = """
albumentations cv2 hydra._internal.hydra hydra_plugins.hydra_joblib_launcher.joblib_launcher jinja2 lightning.pytorch
matplotlib.backends.backend_agg numba pycocotools.mask pydantic.dataclasses scipy.ndimage segmentation_models_pytorch torchvision
celery.app.base celery.worker dvc.cachemgr dvc.cli.parser dvc.data_cloud dvc.repo.experiments.run dvc.repo.experiments.queue.tasks
dvc.repo.status dvc_render dvc_task.app networkx platformdirs pygit2 requests ruamel.yaml
"""
CALLER = """#!{real} -IS
import os, sys
module = sys.argv[2] if sys.argv[1:2] == ["-m"] else ""
if module not in ("seg", "seg.__main__", "dvc") and not sys.argv[1].endswith(".py"):
    os.execv({real!r}, [{real!r}, *sys.argv[1:]])
import json, signal, socket
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _: server.sendall(bytes([number])))
socket.send_fds(server, [b"-"], [0, 1, 2])
server.sendall(json.dumps([os.getpid(), os.getcwd(), dict(os.environ), module, sys.argv[1 + bool(module):]]).encode() + b"\\n")
code = int(server.makefile().readline() or 1)
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@functools.cache
def python() -> Path:
    """The program, in a folder that can be the first of PATH; the first call of a run of the tests starts the server."""
    if not hasattr(os, "pidfd_open"):  # elsewhere than on Linux
        return Path(sys.executable)
    runner = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    folder = Path(tempfile.gettempdir(), f"seg-tests-{runner}")
    folder.mkdir(exist_ok=True)
    program, address = folder / "python", folder / "socket"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            with open(folder / "said.txt", "w") as said:
                command = [sys.executable, __file__, address, str(runner)]
                server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
            while not address.exists():
                assert server.poll() is None, (folder / "said.txt").read_text()
                time.sleep(0.05)
            program.write_text(CALLER.format(real=sys.executable, address=str(address)))
            program.chmod(0o755)
    return program


def serve(address: str, runner: str) -> str:
    """Start a process for each caller until the run of the tests has ended; returns in each of them: the module that it runs, or ""."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address + ".partial")
    listener.listen(64)
    listener.settimeout(2)
    os.rename(address + ".partial", address)
    keepers: list[int] = []
    while Path("/proc", runner).exists():
        keepers = [keeper for keeper in keepers if os.waitpid(keeper, os.WNOHANG) == (0, 0)]
        try:
            caller, _ = listener.accept()
        except TimeoutError:
            continue
        if keeper := os.fork():
            keepers.append(keeper)
            caller.close()
            continue
        listener.close()
        _, streams, *_ = socket.recv_fds(caller, 1, 3)
        caller_pid, folder, environment, module, sys.argv = json.loads(caller.makefile().readline())
        if pid := os.fork():
            keep(pid, caller)
        caller.close()
        for place, stream in enumerate(streams):
            os.dup2(stream, place)
            os.close(stream)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        if "SEG_RANK_0" in environment:
            os.getppid = functools.partial(parent_of, caller_pid)
        sys.executable = str(Path(address).with_name("python"))
        first = folder if module else str(Path(folder, sys.argv[0]).parent)
        sys.path[:1] = [first, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
        sys.modules.pop("sitecustomize", None)
        with contextlib.suppress(ImportError):  # as an interpreter does when it starts
            import_module("sitecustomize")
        sys.stdout.reconfigure(line_buffering="PYTHONUNBUFFERED" in environment)  # type: ignore[union-attr]
        return module
    shutil.rmtree(Path(address).parent)
    os._exit(0)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def keep(pid: int, caller: socket.socket) -> None:
    """Give the process the caller's signals, and the caller its exit code; kill it where the caller is gone."""
    process = os.pidfd_open(pid)
    while process not in (ready := select.select([process, caller], [], [])[0]):
        number = caller.recv(1)
        os.kill(pid, number[0] if number else signal.SIGKILL)
        if not number:
            break
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if process in ready:
        caller.sendall(f"{code}\n".encode())
    os._exit(0)


def share_compiled() -> None:
    from numba.core.caching import CacheImpl

    in_tree = next(locator for locator in CacheImpl._locator_classes if "InTree" in locator.__name__)

    class Shared(in_tree):  # type: ignore[misc, valid-type]
        @classmethod
        def from_function(cls, function: object, file: str) -> object:
            own = Path(__file__).parents[1] / "seg" / file.rpartition("/seg/")[2]
            return super().from_function(function, str(own)) if own.is_file() and filecmp.cmp(own, file, shallow=False) else None

    CacheImpl._locator_classes.insert(0, Shared)


def run(module: str) -> int:
    """The exit code of the module, or of the script sys.argv[0], as the program that is run."""
    try:
        if module:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    os.environ["MPLBACKEND"] = "agg"
    for library in LIBRARIES.split():
        import_module(library)
    sys.modules["numba"].njit(lambda number: number)(1)  # the first function that is compiled makes, and imports, much
    share_compiled()
    assert not any(name.partition(".")[0] == "seg" for name in sys.modules), "each project imports its own"
    gc.collect()
    gc.freeze()  # no collection in a forked process looks at, and so copies, what the libraries hold
    code = run(serve(*sys.argv[1:]))
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)  # all modules would be copied to be cleared
