"""Files elsewhere, by URLs of fsspec: `s3://bucket/folder`, also gs, az, sftp, https. They are read and written there, without a copy here.

A place elsewhere is a UPath, which does what a Path does (https://github.com/fsspec/universal_pathlib), and is none."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, cast

from seg.core.errors import InputError, UnreadableError, UsageError

URL, LOCAL = re.compile(r"[a-z][a-z0-9+.-]+://"), "file://"


def place_of(named: str) -> Path:
    """What a path or a URL names. UsageError where a package is missing that its protocol needs, or the bucket is not there."""
    if not URL.match(named) or named.startswith(LOCAL):
        return Path(named.removeprefix(LOCAL))
    try:
        from upath import UPath

        place: Any = UPath(named)
        fs, bucket = place.fs, place.anchor.strip("/")
    except (ImportError, ValueError) as error:
        fix = "pip install universal-pathlib, and s3fs, gcsfs or adlfs for s3://, gs:// or az://"
        raise UsageError(f"{named}: {' '.join(str(error).split())}; {fix}") from None
    with reached(place):
        if bucket and "://" not in bucket and not fs.exists(bucket):
            fix = "make it, mend the name, or set its address and your rights in the environment"
            raise UsageError(f"{named}: no bucket '{bucket}' can be reached; {fix}")
    return cast(Path, place)


def on_disk(named: str) -> Path:
    """What a path names. UsageError for a URL, of what is read and written on a disk of this machine alone."""
    if URL.match(named) and not named.startswith(LOCAL):
        raise UsageError(
            f"{named}: is a URL, but a path of this machine is needed here; copy what lies there, or mount it, and name that path"
        )
    return Path(named.removeprefix(LOCAL))


def is_elsewhere(place: Path) -> bool:
    """Whether it is of a URL, not of this machine's files."""
    return not isinstance(place, Path)


def resolved(place: Path) -> Path:
    """Without links; a URL as it is, since some protocols would ask the network."""
    return place if is_elsewhere(place) else place.resolve()


@contextmanager
def reached(place: Path) -> Iterator[None]:
    """Around a request. UnreadableError for all that goes wrong; libraries of clouds have errors of their own."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise _unreadable(place, error) from None


def _unreadable(place: Path, error: Exception) -> UnreadableError:
    said = " ".join(str(error).split())[:150] or type(error).__name__
    return UnreadableError(f"{place}: cannot be reached ({said}); look at its name, your rights there, and the network")


def listed(place: Path, pattern: str = "") -> list[Path]:
    """The files below a folder elsewhere, or those that match a pattern there; a file itself."""
    fs, path = place.fs, place.path  # type: ignore[attr-defined]
    with reached(place):
        found = fs.glob(f"{path.rstrip('/')}/{pattern}", detail=True) if pattern else fs.find(path, detail=True)
    names = (name for name, facts in found.items() if facts["type"] == "file")
    return [place / name.removeprefix(path).lstrip("/") if name != path else place for name in names]


def existing(folder: Path) -> Callable[[Path], bool]:
    """What tells whether a file below the folder exists; elsewhere all are listed at once, as each question would take its time."""
    if not is_elsewhere(folder):
        return Path.exists
    return set(listed(folder)).__contains__


def read(place: Path, start: int | None = None, stop: int | None = None) -> bytes:
    """The bytes of a file elsewhere, or a part of them."""
    with reached(place):
        return bytes(_system(place).cat_file(place.path, start=start, end=stop))  # type: ignore[attr-defined]


def read_together(places: Sequence[Path]) -> dict[Path, bytes | UnreadableError]:
    """The bytes of files elsewhere, asked for at once, as each answer takes its time; or what is wrong with each."""
    found: dict[Path, bytes | UnreadableError] = {}
    for place in places:
        if place not in found:
            system, near = _system(place), [p for p in places if p.protocol == place.protocol]  # type: ignore[attr-defined]
            with reached(place):
                data = system.cat([p.path for p in near], on_error="return")  # type: ignore[attr-defined]
            known = {p: data.get(p.path, FileNotFoundError()) for p in near}  # type: ignore[attr-defined]
            found |= {p: _unreadable(p, given) if isinstance(given, Exception) else given for p, given in known.items()}
    return found


def _system(place: Any) -> Any:
    """The file system of a place in this process: a fork must not use that of its parent."""
    import fsspec

    return fsspec.filesystem(place.protocol, **place.storage_options)


@contextmanager
def uploaded(place: Any) -> Iterator[IO[bytes]]:
    """A file to write, which appears elsewhere when the block ends well."""
    with reached(place):
        file = place.fs.open(place.path, "wb", autocommit=False)
    send = file.write

    def write(data: bytes) -> int:  # large files are sent in parts
        with reached(place):
            return cast(int, send(data))

    file.write = write
    try:
        yield file
        with reached(place):
            file.close()
            file.commit()
    except BaseException:
        with suppress(Exception):  # what broke the one may break the other
            file.discard()
        file.closed = True  # else the rest would be sent when Python forgets it
        raise


def make_folder(folder: Path) -> None:
    """Make a folder, with those above it, where it is missing."""
    if not is_elsewhere(folder):
        folder.mkdir(parents=True, exist_ok=True)
        return
    with reached(folder):
        _make(folder)


@lru_cache(maxsize=1 << 12)
def _make(folder: Path) -> None:  # once, as each question takes its time
    folder.mkdir(parents=True, exist_ok=True)
