"""Files of tensors that torch.save wrote, of whatever origin: looked at before torch reads them, and nothing in them is run."""

import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from seg.core.errors import DataError

SHARED, LITTLE = 4, 2**20  # how often tensors may share their numbers, as tied layers do, and bytes of which nothing is said
LARGEST_PICKLE = 2**26  # bytes of the part of a file that is no tensor: names, numbers, structure


def read_tensors(path: Path, mmap: bool = False) -> Any:
    """What a file of torch.save holds: tensors and plain values. OSError where it cannot be read, DataError where it is none."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise DataError(f"{path}: is no regular file")
    refuse_bombs(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except OSError:
        raise
    except Exception as error:  # of the archive, of the unpickler, of the memory
        raise DataError(f"{path}: {' '.join(str(error).split())[:200]}") from None
    _refuse_stretched(content, path)
    return content


def _refuse_stretched(content: Any, path: Path) -> None:
    """Raise DataError where tensors have no numbers of their own, or are larger than the file: a network would be made for them."""
    tensors = list(tensors_in(content))
    for tensor in tensors:
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested or tensor.device.type != "cpu":
            raise DataError(f"{path}: holds a tensor that is {tensor.layout}, quantized or without numbers, expected plain numbers")
    said, held = sum(tensor.numel() * tensor.element_size() for tensor in tensors), bytes_of(tensors)
    if said > SHARED * held + LITTLE:
        raise DataError(f"{path}: its tensors have {said / 1e6:.0f} MB by their shapes, but the file holds {held / 1e6:.0f} MB of numbers")


def tensors_in(content: Any) -> Iterator[torch.Tensor]:
    """The tensors in nested dicts and sequences, which may be deep, or hold themselves."""
    todo, seen = [content], set[int]()
    while todo:
        value = todo.pop()
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            todo += value.values() if isinstance(value, dict) else value


def bytes_of(content: Any) -> int:
    """Of the tensors in nested dicts and sequences; a storage that several share counts once, as it is saved once."""
    storages = (tensor.untyped_storage() for tensor in tensors_in(content))
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def refuse_bombs(path: Path) -> None:
    """Raise DataError where an archive is larger when it is read than the file is, as its own directory tells. torch compresses nothing.

    Files that are no archive, and damaged ones, are left to whoever reads them."""
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
