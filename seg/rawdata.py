"""Inputs from outside the pipeline: where they lie, and the links in data/ that stand for them, so that DVC notices changes."""

import os
from pathlib import Path

from seg.errors import ConfigError, DataError
from seg.schema import Data, Model
from seg.scratch import DVC_COPIES

RAW = Path("data/raw")
WEIGHTS = Path("data/weights")
NO_RAW_DATA = "The data set is drawn from a seed: there is no raw data.\n"
NO_WEIGHTS = "Training starts from no local file of weights.\n"
WEIGHT_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin")


def find_root(project: Path, data: Data) -> Path | None:
    """The folder of the raw data set, or None where the source draws its own; DataError where it is missing."""
    if data.root is None:
        return None
    root = project / data.root
    absolute = Path(os.path.abspath(root))
    if Path(os.path.abspath(project / RAW)).is_relative_to(absolute):
        raise DataError(f"data.root={data.root}: {RAW} is kept for a link to the data set; keep it in another folder, such as data/mine")
    if root.is_dir():
        return root
    obtain = f"; the data set is to be had from {data.obtain}" if data.obtain else ""
    copied = f"/{DVC_COPIES}/" in project.resolve().as_posix() and not Path(data.root).is_absolute()
    copy = (
        "; a queued experiment runs in a copy of what git and DVC track: `dvc add` the folder, or give an absolute path" if copied else ""
    )
    kind = "is a file, not a folder" if root.exists() else "there is no such folder"
    raise DataError(f"data.root={data.root}: {kind}; set data.root to where the data set lies{obtain}{copy}")


def local_weights(project: Path, model: Model) -> Path | None:
    """The local file that `model.weights` names, or None for a hub's name or none; ConfigError where it is missing."""
    name = model.weights
    if name is None or not ("/" in name or name.endswith(WEIGHT_SUFFIXES)):
        return None
    path = project / name
    if not path.is_file():
        raise ConfigError(f"model.weights={name}: there is no such file; give a file of weights, a hub's name, or null")
    return path


def link_input(link: Path, target: Path | None, note: str) -> None:
    """Make `link` stand for an input: a link to it, or a note that there is none.

    Within the project the link is relative, so that it holds in a copy of the project too.
    """
    if link.is_dir() and not link.is_symlink():
        raise DataError(f"{link}: is a folder, but this name is kept for a link to the input; rename the folder")
    if target is None:
        if link.is_symlink() or not link.is_file() or link.read_text() != note:
            link.unlink(missing_ok=True)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.write_text(note)
        return
    inside = target.resolve().is_relative_to(link.parent.parent.resolve())
    text = os.path.relpath(target, link.parent) if inside else str(target.resolve())
    if link.is_symlink() and os.readlink(link) == text:
        return
    link.unlink(missing_ok=True)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(text, target_is_directory=target.is_dir())
