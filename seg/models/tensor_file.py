"""Files of tensors that torch.save wrote, of whatever origin: looked at before torch reads them, and nothing in them is run."""

import stat
import zipfile
from pathlib import Path
from typing import Any

import torch

from seg.core.errors import DataError

LARGEST_PICKLE = 2**26
"""Bytes of the part of a file that is no tensor: names, numbers, structure."""


def read_tensors(path: Path, mmap: bool = False) -> Any:
    """What a file of torch.save holds: tensors and plain values. OSError where it cannot be read, DataError where it is none."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise DataError(f"{path}: is no regular file")
    refuse_bombs(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except OSError:
        raise
    except Exception as error:  # of the archive, of the unpickler, of the memory
        raise DataError(f"{path}: {' '.join(str(error).split())[:200]}") from None


def refuse_bombs(path: Path) -> None:
    """Raise DataError where an archive is larger when it is read than the file is, as its own directory tells. torch compresses nothing.

    Files that are no archive, and damaged ones, are left to whoever reads them.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
        return
    declared = sum(record.file_size for record in records)
    if any(record.compress_type != zipfile.ZIP_STORED for record in records) or declared > path.stat().st_size:
        raise DataError(f"{path}: is compressed, and would take {declared / 1e6:.0f} MB; torch writes no such file")
    for record in records:
        if record.filename.endswith((".pkl", ".json")) and record.file_size > LARGEST_PICKLE:
            raise DataError(f"{path}: its {record.filename.rpartition('/')[2]} has {record.file_size / 1e6:.0f} MB, which no model needs")
