"""Where a training keeps its checkpoints in the making: a folder named by all that a checkpoint must agree with.

DVC removes a stage's outputs before it runs the stage; this folder lies outside of them, so an interrupted training goes
on, and a training with other settings, data or code starts afresh.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import IO, Any

from seg.core.errors import InputError

VARIABLE = "SEG_SCRATCH"
WAIT = 6.0  # seconds to wait for the lock before a second training is refused
DVC_COPIES = ".dvc/tmp/exps"  # DVC runs queued experiments in copies of the project below this folder


def scratch_root(project: Path) -> Path:
    """$SEG_SCRATCH, or .scratch in the project; for a queued experiment's copy, in the project it was copied from."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE]).expanduser()
    return origin(project) / ".scratch"


def origin(project: Path) -> Path:
    """The project's own folder: for a queued experiment's copy that of the project it was copied from."""
    path = project.resolve()
    before, found, _ = path.as_posix().partition(f"/{DVC_COPIES}/")
    return Path(before) if found else path


NO_EFFECT = ("seg.cli", "seg.__main__", "seg.commands", "seg.configure", "seg.runtime")
"""Modules and rooms that cannot change what a training makes: an edit of theirs throws no interrupted training away."""


def fingerprint(settings: dict[str, Any], inputs: list[str]) -> str:
    """Of the settings, of digests of the input data, and of the code of every module of ours that is loaded, but those of NO_EFFECT."""
    digest = hashlib.sha256(json.dumps([settings, inputs], sort_keys=True).encode())
    for name in sorted(n for n in sys.modules if f"{n}.".startswith("seg.") and not f"{n}.".startswith(tuple(f"{o}." for o in NO_EFFECT))):
        file = getattr(sys.modules[name], "__file__", None)
        if file:
            digest.update(name.encode() + hashlib.sha256(Path(file).read_bytes()).digest())
    return digest.hexdigest()[:16]


class Scratch:
    """A locked scratch folder; `with Scratch(...) as folder`. It stays until `clear` is called."""

    def __init__(self, root: Path, name: str) -> None:
        self.folder, self.lock_path = root / name, root / f"{name}.lock"
        self._done = root / f"{name}.done"
        self._lock: IO[str] | None = None

    def __enter__(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        patience = time.monotonic() + WAIT
        while True:
            lock = open(self.lock_path, "w", encoding="utf-8")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                if time.monotonic() < patience:  # a killed training's loaders hold the lock until they notice
                    time.sleep(0.5)
                    continue
                raise InputError(
                    f"{self.folder}: a training with the same settings is still running (it holds {self.lock_path.name}); "
                    "wait for it, or stop it"
                ) from None
            if self.lock_path.exists() and os.path.samestat(os.fstat(lock.fileno()), self.lock_path.stat()):
                self._lock = lock
                os.register_at_fork(after_in_child=lock.close)  # loaders would hold it for seconds after a training is killed
                for left in self.folder.glob("*.partial"):  # of a run that was killed
                    left.unlink()
                shutil.rmtree(self._done, ignore_errors=True)
                return self.folder
            lock.close()  # its holder ended, and removed the file, while we waited for it

    def __exit__(self, *_: object) -> None:
        if self._lock:
            self._lock.close()

    def clear(self) -> None:
        """Remove the folder: its training is done. It is renamed first, as a folder half removed would look like one to go on from."""
        shutil.rmtree(self._done, ignore_errors=True)
        self.folder.rename(self._done)
        shutil.rmtree(self._done, ignore_errors=True)
        self.lock_path.unlink(missing_ok=True)
