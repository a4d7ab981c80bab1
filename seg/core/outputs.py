"""Outputs that are written beside, then put in their place as a whole, or not at all: a file, some of a folder's files, a folder."""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from seg.core.errors import DataError, DiskFullError, InputError
from seg.core.urls import is_elsewhere, make_folder, uploaded

ADVICE = "free some space, then run the command again"
SMALLER = "close other programs, or have less at a time: smaller images, tiles, batches, or fewer workers (runtime.workers)"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def whole_file(path: Path, needed: int | None = None, advice: str = ADVICE, sync: bool = True) -> Iterator[IO[bytes]]:
    """A binary file to write beside `path`; it takes its place when it is on the disk: a power cut leaves the old file or the new one.

    needed: bytes that it will have, about, where that is known; advice: how to go on. DiskFullError says both where there is no room;
    nothing is left then. sync: without it the file is not waited for, which takes some 10 ms: a kill leaves the old file or the new one,
    a power cut may not. A file elsewhere appears as a whole, too."""
    if is_elsewhere(path):
        with uploaded(path) as file:
            yield file
        return
    beside = path.with_name(f"{path.name}.partial")
    try:
        with open(beside, "wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    except Exception as error:
        beside.unlink(missing_ok=True)  # before the free space is read
        if reason := _full(error):
            need = "" if needed is None else f"it needs {needed / 1e6:.1f} MB, and "
            raise DiskFullError(_no_room(path, reason, need, advice)) from None
        raise
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str, sync: bool = True) -> None:
    """Write a file, text as UTF-8, as `whole_file` does; its folder is made where it is missing."""
    data = content.encode() if isinstance(content, str) else content
    make_folder(path.parent)
    with whole_file(path, len(data), sync=sync) as file:
        file.write(data)


class JsonList:
    """A list in a JSON file that is written member by member, as all of it may be too much for the memory. lines: each member has a line of
    its own."""

    def __init__(self, file: IO[bytes], lines: bool = True) -> None:
        self.file, self.count, self.end = file, 0, "\n" if lines else ""
        self._between = ",\n" if lines else ", "
        file.write(b"[")

    def append(self, member: Mapping[str, Any]) -> None:
        """Write a member; ValueError for a number that JSON does not have."""
        self.file.write(f"{self._between if self.count else self.end}{json.dumps(member, allow_nan=False)}".encode())
        self.count += 1

    def close(self) -> None:
        """End the list; the file stays open for what comes behind it."""
        self.file.write(f"{self.end if self.count else ''}]".encode())


@contextmanager
def replaced_files(out: Path) -> Iterator[Path]:
    """A folder to write files into, inside `out`; they take the places of those of their names when the block ends well."""
    partial = out / ".partial"
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    partial.mkdir(parents=True)
    try:
        yield partial
        for path in sorted(partial.iterdir()):
            os.replace(path, out / path.name)
    except DiskFullError as error:  # names the file as it will be
        raise DiskFullError(str(error).replace(f"{partial}/", f"{out}/", 1)) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def used_up() -> Iterator[None]:
    """Around a command: where a disk is full, or the memory, the error is one that says so in a line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if reason := _full(error):
            name = next((e.filename for e in _chain(error) if isinstance(e, OSError) and e.filename), "a file")
            raise DiskFullError(f"{name}: cannot be written ({reason}); {ADVICE}") from None
        if is_memory_error(error):
            raise DataError(f"the memory is used up ({' '.join(str(error).split())[:150] or 'MemoryError'}); {SMALLER}") from None
        raise


def is_memory_error(error: BaseException) -> bool:
    """Whether Python, numpy, OpenCV or torch found too little memory."""
    words = ("allocate memory", "Insufficient memory", "out of memory", "std::bad_alloc")
    return any(isinstance(e, MemoryError) or any(word in str(e) for word in words) for e in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__


def _full(error: BaseException) -> str | None:
    """What the system said where a write failed for want of room; torch raises another error over it."""
    return next((os.strerror(e.errno) for e in _chain(error) if isinstance(e, OSError) and e.errno in FULL), None)


def _no_room(path: Path, reason: str, need: str, advice: str) -> str:
    free = f"{shutil.disk_usage(path.parent).free / 1e6:.1f} MB"
    return f"{path}: cannot be written ({reason}): {need}its disk has {free} free; {advice}"


def disk_full(path: Path) -> DiskFullError:
    """What to raise where a library that writes `path` by itself does not say that its disk is full."""
    return DiskFullError(_no_room(path, os.strerror(errno.ENOSPC), "", ADVICE))


@contextmanager
def replaced_folder(out: Path, own: Sequence[str]) -> Iterator[Path]:
    """A folder to write into, beside `out`; it takes out's place when the block ends well and is removed when not. own: the names that may
    be replaced in `out`. DataError where it holds anything else; Hydra's own records are kept."""
    partial, former = (out.with_name(f"{out.name}.{name}") for name in ("partial", "former"))
    there = list(out.iterdir()) if out.is_dir() else []
    if foreign := sorted(path.name for path in there if path.name not in own and not _is_record(path)):
        raise DataError(f"{out}: holds {foreign[0]}, which is not this command's; it would be lost: write to another folder")
    for left in (partial, former):  # of a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)  # before the free space is read
        if isinstance(error, DiskFullError):  # names the file as it will be
            raise DiskFullError(str(error).replace(f"{partial}/", f"{out}/", 1)) from None
        if not isinstance(error, InputError) and (reason := _full(error)):
            raise DiskFullError(_no_room(out, reason, "", ADVICE)) from None
        raise
    for record in filter(_is_record, out.iterdir() if out.is_dir() else ()):
        os.replace(record, partial / record.name)
    if out.exists():  # moved before it is removed: a folder half removed would look like a whole one
        os.replace(out, former)
    os.replace(partial, out)
    shutil.rmtree(former, ignore_errors=True)


def _is_record(path: Path) -> bool:
    return path.name == ".hydra" or path.suffix == ".log"
