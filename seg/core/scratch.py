"""Where a training keeps its checkpoints in the making: a folder named by all that a checkpoint must agree with.

DVC removes a stage's outputs before it runs the stage; this folder lies outside of them, so an interrupted training goes
on, and a training with other settings, data or code starts afresh."""

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
SETTINGS = "settings.json"
WAIT = 6.0  # seconds to wait for the lock before a second training is refused
DVC_COPIES = ".dvc/tmp/exps"  # DVC runs queued experiments in copies of the project below this folder
NO_EFFECT = ("seg.cli", "seg.__main__", "seg.commands", "seg.configure", "seg.runtime")
"""Modules and rooms that cannot change what a training makes: an edit of theirs throws no interrupted training away."""


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


def fingerprint(settings: dict[str, Any], inputs: list[str]) -> str:
    """Of the settings, of digests of the input data, and of the code of every module of ours that is loaded, but those of NO_EFFECT."""
    digest = hashlib.sha256(json.dumps([settings, inputs], sort_keys=True).encode())
    for name in sorted(n for n in sys.modules if f"{n}.".startswith("seg.") and not f"{n}.".startswith(tuple(f"{o}." for o in NO_EFFECT))):
        file = getattr(sys.modules[name], "__file__", None)
        if file:
            digest.update(name.encode() + hashlib.sha256(Path(file).read_bytes()).digest())
    return digest.hexdigest()[:16]


def is_running(folder: Path) -> bool:
    """Whether a process holds the lock of a scratch folder."""
    try:
        with open(folder.with_name(f"{folder.name}.lock"), "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none
        return False
    return False


def _differing(folder: Path, settings: dict[str, Any]) -> str:
    """In what the settings of another training differ from these, in words."""
    try:
        before = _flat(json.loads((folder / SETTINGS).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return "of unknown settings"
    now = _flat(settings)
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    told = [f"{key}={before.get(key)}, here {now.get(key)}" for key in keys[:3]]
    return f"with {'; '.join(told)}" if told else "of other data, weights or code"


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict):
        return {prefix: node}
    return {key: value for name, child in node.items() for key, value in _flat(child, f"{prefix}.{name}" if prefix else name).items()}


class Scratch:
    """A locked scratch folder; `with Scratch(...) as folder`. It stays until `clear` is called."""

    def __init__(self, root: Path, name: str) -> None:
        self.folder, self.lock_path = root / name, root / f"{name}.lock"
        self._done = root / f"{name}.done"
        self._lock: IO[str] | None = None

    def note(self, settings: dict[str, Any]) -> list[str]:
        """Keep the training's settings beside its checkpoints. Where it starts afresh, a line for each training that was interrupted with
        others, which lies here still."""
        (self.folder / SETTINGS).write_text(json.dumps(settings), encoding="utf-8")
        if (self.folder / "last.ckpt").exists():
            return []
        left = [p.parent for p in sorted(self.folder.parent.glob("*/last.ckpt")) if p.parent.suffix != ".done" and not is_running(p.parent)]
        said = "starts anew: {} holds an interrupted training {}; `seg clean` lists what is left"
        return [said.format(folder, _differing(folder, settings)) for folder in left]

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
                problem = f"{self.folder}: a training with the same settings is still running (it holds {self.lock_path.name})"
                raise InputError(f"{problem}; wait for it, or stop it") from None
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
