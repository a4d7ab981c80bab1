"""Files within tar files that are not compressed, as WebDataset's shards: `shard.tar/name` is read without the rest."""

import mmap
import os
import tarfile
from functools import lru_cache
from pathlib import Path

from seg.core.errors import UnreadableError

TAR, BLOCK = ".tar", tarfile.BLOCKSIZE


def members(tar: str) -> dict[str, tuple[int, int]]:
    """First byte and length of each file, by name. UnreadableError where it is cut off, compressed, or no tar file."""
    found = os.stat(tar)
    return _members(tar, found.st_mtime_ns, found.st_size)


def within(path: Path) -> tuple[Path, int, int] | None:
    """The tar file that a path leads through, first byte and length of the file there; None where there is none."""
    for tar in path.parents:
        if tar.suffix.lower() == TAR and tar.is_file() and (place := members(str(tar)).get(path.relative_to(tar).as_posix())):
            return tar, *place
    return None


def read_within(path: Path) -> bytes | None:
    """The bytes of a file in a tar file; None where there is none."""
    if (place := within(path)) is None:
        return None
    with open(place[0], "rb") as file:
        return os.pread(file.fileno(), place[2], place[1])


@lru_cache(maxsize=64)
def _members(tar: str, _: int, size: int) -> dict[str, tuple[int, int]]:
    found, start = dict[str, tuple[int, int]](), 0
    try:
        with open(tar, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            while start < size and content[start] and content[start + 156] in b"05\0" and not content[start + 345]:  # short, plain names
                length = int(content[start + 124 : start + 135], 8)
                if content[start + 156] != ord("5"):
                    found[content[start : start + 100].rstrip(b"\0").decode().removeprefix("./")] = start + BLOCK, length
                start += BLOCK - length // -BLOCK * BLOCK
            if start < size and content[start] == 0:
                return found
        with tarfile.open(tar, "r:") as opened:  # slower, but it knows all kinds of members
            return {m.name.removeprefix("./"): (m.offset_data, m.size) for m in opened if m.isreg()}
    except (OSError, ValueError, IndexError, tarfile.TarError) as error:
        fix = "write it again, without compression"
        raise UnreadableError(f"{tar}: cannot be read as a tar file ({' '.join(str(error).split())}); {fix}") from None
