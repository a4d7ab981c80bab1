"""Bytes of an image or a class map: a file of their own, or a member of a shard, which is an uncompressed tar file of many of them.

A shard is read by any program for tar files, and by WebDataset: the image `<key>.<suffix>` is followed by its class map
`<key>.semantic.png`. The manifest has first byte and length of both, so that any of them is read at once."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tarfile import BLOCKSIZE
from typing import IO

from seg.core import urls
from seg.core.errors import DataError, UnreadableError
from seg.core.urls import is_elsewhere
from seg.data.imagefile import read_bytes

AGAIN = "restore it (`dvc checkout`, `dvc pull`), or run `seg prepare` again"


@dataclass(frozen=True, slots=True)
class Stored:
    """Where bytes lie. file: their own, or the shard. member: their name in the shard; start, size: their first byte there, and number."""

    file: Path
    member: str = ""
    start: int = 0
    size: int = 0

    @property
    def path(self) -> Path:
        """How messages name it."""
        return self.file / self.member if self.member else self.file

    def read(self) -> bytes:
        """The bytes; DataError where they are missing, cut off, or those of something else."""
        if not self.member:
            return read_bytes(self.file)
        first, size = self.start - BLOCKSIZE, BLOCKSIZE + self.size
        try:
            if is_elsewhere(self.file):
                data = urls.read(self.file, first, first + size)
            else:
                data = os.pread(_opened(self.file).fileno(), size, first)  # has no place that a fork shares
        except OSError as error:
            raise UnreadableError(f"{self.file}: cannot be read ({error.strerror})") from None
        if len(data) < size:
            raise DataError(f"{self.file}: is cut off within {self.member}; {AGAIN}", kind="truncated-file")
        if data[:100].rstrip(b"\0") != self.member.encode("ascii", "replace")[:100]:  # as tarfile has it, which puts longer names before
            raise DataError(f"{self.file}: does not have {self.member} where the manifest says; {AGAIN}")
        return data[BLOCKSIZE:]


def _opened(path: Path) -> IO[bytes]:
    """A shard, which each process opens once."""
    found = os.stat(path)
    return _open(str(path), found.st_ino, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=128)
def _open(path: str, *_: int) -> IO[bytes]:
    return open(path, "rb", buffering=0)


def members_of(image_id: str, file: str) -> tuple[str, str]:
    """The names of an image and of its class map in a shard. WebDataset takes all before the first dot for the key, so the key has none."""
    key = image_id.replace("%", "%25").replace(".", "%2E")
    return f"{key}{file.removeprefix(image_id)}", f"{key}.semantic.png"
