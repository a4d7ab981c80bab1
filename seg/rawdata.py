"""The raw data set: where it lies, and data/raw, which stands for it so that DVC notices every change of it."""

import os
from pathlib import Path

from seg.errors import DataError
from seg.schema import Data
from seg.scratch import DVC_COPIES

NO_RAW_DATA = "The data set is drawn from a seed: there is no raw data.\n"


def find_root(project: Path, data: Data) -> Path | None:
    """The folder of the raw data set, or None where the source draws its own; DataError where it is missing."""
    if data.root is None:
        return None
    root = project / data.root
    if root.is_dir():
        return root
    obtain = f"; the data set is to be had from {data.obtain}" if data.obtain else ""
    copied = f"/{DVC_COPIES}/" in project.resolve().as_posix() and not Path(data.root).is_absolute()
    copy = (
        "; a queued experiment runs in a copy of what git and DVC track: `dvc add` the folder, or give an absolute path" if copied else ""
    )
    kind = "is a file, not a folder" if root.exists() else "there is no such folder"
    raise DataError(f"data.root={data.root}: {kind}; set data.root to where the data set lies{obtain}{copy}")


def link_raw(link: Path, root: Path | None) -> None:
    """Make `link` stand for the raw data: a link to its folder, or a note that there is none.

    Within the project the link is relative, so that it holds in a copy of the project too.
    """
    if root is None:
        if link.is_symlink() or not link.is_file() or link.read_text() != NO_RAW_DATA:
            link.unlink(missing_ok=True)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.write_text(NO_RAW_DATA)
        return
    inside = root.resolve().is_relative_to(link.parent.parent.resolve())
    target = os.path.relpath(root, link.parent) if inside else str(root.resolve())
    if link.is_symlink() and os.readlink(link) == target:
        return
    link.unlink(missing_ok=True)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target, target_is_directory=True)
