"""Inputs from outside the pipeline: where they lie, and the links in data/ that stand for them, so that DVC notices changes."""

import hashlib
import os
import re
from pathlib import Path

from seg.core.errors import ConfigError, DataError
from seg.core.scratch import DVC_COPIES

RAW = Path("data/raw")
WEIGHTS = Path("data/weights")
NONE = Path("data/none.txt")
NOTE = "There is no such input: data/raw and data/weights are links, here to this file.\n"
"""What the links mean where there is no such input. They are always links: git would write a file through a link to a folder."""
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
"""Of someone's weights: owner/name. A folder of that owner's name means a local path."""
WEIGHT_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin")


def find_root(project: Path, given: str | None, obtain: str | None) -> Path | None:
    """The folder of the raw data set, data.root, or None where the source draws its own; DataError where it is missing.

    obtain: where the data set is to be had."""
    if given is None:
        return None
    root = project / Path(given).expanduser()
    absolute = Path(os.path.abspath(root))
    if Path(os.path.abspath(project / RAW)).is_relative_to(absolute):
        raise DataError(f"data.root={given}: {RAW} is kept for a link to the data set; keep it in another folder, such as data/mine")
    if root.is_dir():
        return root
    source = f"; the data set is to be had from {obtain}" if obtain else ""
    copied = f"/{DVC_COPIES}/" in project.resolve().as_posix() and not Path(given).is_absolute()
    queued = "; a queued experiment runs in a copy of what git and DVC track: `dvc add` the folder, or give an absolute path"
    kind = "is a file, not a folder" if root.exists() else "there is no such folder"
    raise DataError(f"data.root={given}: {kind}; set data.root to where the data set lies{source}{queued if copied else ''}")


def local_weights(project: Path, name: str | None) -> Path | None:
    """The local file or folder that `model.weights` names, or None for a hub's name or none; ConfigError where it is missing."""
    if name is None or not ("/" in name or name.endswith(WEIGHT_SUFFIXES)):
        return None
    path = project / Path(name).expanduser()
    if path.is_file() or (path / "config.json").is_file():
        return path
    if HUB_NAME.fullmatch(name) and not name.endswith(WEIGHT_SUFFIXES) and not path.parent.exists():
        return None
    raise ConfigError(f"model.weights={name}: there is no such file; give a file of weights, a hub's name, or null")


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, or of all files in a folder."""
    if path.is_dir():
        parts = "".join(f"{file.name} {digest_of(file)}\n" for file in sorted(path.iterdir()) if file.is_file())
        return hashlib.sha256(parts.encode()).hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def link_input(project: Path, name: Path, target: Path | None) -> None:
    """Make `name`, below the project, a link to an input, or to NONE where there is none.

    Within the project the link is relative, so that it holds in a copy of the project too."""
    link = project / name
    if link.is_dir() and not link.is_symlink():
        raise DataError(f"{link}: is a folder, but this name is kept for a link to the input; rename the folder")
    if target is None:
        target = project / NONE
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.write_text(NOTE, encoding="utf-8")
    inside = target.resolve().is_relative_to(project.resolve())
    text = os.path.relpath(target, link.parent) if inside else str(target.resolve())
    if link.is_symlink() and os.readlink(link) == text:
        return
    link.unlink(missing_ok=True)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(text, target_is_directory=target.is_dir())
