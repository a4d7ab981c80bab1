"""`clean`: lists what interrupted commands left, which nothing else removes, and removes it if that is asked for."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seg.core.errors import plural
from seg.core.scratch import is_running, scratch_root

PARTS = (".partial", ".former")  # ends of the names of outputs that were being written, or replaced
FOLDERS = ("data", "artifacts", "outputs", "multirun", "predictions")


@dataclass(frozen=True, slots=True)
class Arguments:
    """Of the command line. remove: not only list."""

    remove: bool = False


def run(project: Path, given: Arguments) -> None:
    """List, or remove. What a running training uses is left."""
    found = list(leftovers(project))
    for path, what in found:
        print(f"{path.relative_to(project) if path.is_relative_to(project) else path}: {what}, {_size(path) / 1e6:.1f} MB")
        if given.remove:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if not found:
        print("nothing is left over")
    elif given.remove:
        print(f"removed {plural(len(found), 'leftover')}")
    else:
        print("to remove them: seg clean --remove")


def leftovers(project: Path) -> Iterator[tuple[Path, str]]:
    """What there is, with what it is."""
    trainings = scratch_root(project) / "train"
    for folder in sorted(p for p in trainings.glob("*") if p.is_dir() and not is_running(p)):
        whole = (folder / "last.ckpt").exists() and folder.suffix != ".done"
        yield folder, "an interrupted training, which the same command goes on from" if whole else "of a training that ended"
    for name in FOLDERS:
        for path in sorted(p for p in (project / name).rglob("*") if p.name.endswith(PARTS) and not p.is_symlink()):
            if not any(parent.name.endswith(PARTS) for parent in path.relative_to(project).parents):
                yield path, "an output that was not finished"


def _size(path: Path) -> int:
    return sum(p.stat().st_size for p in (path.rglob("*") if path.is_dir() else [path]) if p.is_file())
