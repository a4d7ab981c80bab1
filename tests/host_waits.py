"""Counts what would make the host wait for a GPU, in a program that runs on the CPU: who asks for values, by package and file."""

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

ASKING = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "bincount", "_unique2", "unique_dim", "unique_consecutive"} | {
    "masked_select",
    "repeat_interleave",
    "nms",
}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
COPYING = {torch.tensor, torch.as_tensor, Tensor.cpu, Tensor.numpy, Tensor.tolist}
"""Calls that copy between host and device, one of them at once; values that are made from Python's numbers too."""

Place = tuple[str, str]
"""("seg" or "torchvision", file); ("", "") where neither asks."""


@contextmanager
def host_waits() -> Iterator[Counter[Place]]:
    """How often each place asks, within the block."""
    found: Counter[Place] = Counter()
    with _Dispatched(found), _Called(found):
        yield found


class _Dispatched(TorchDispatchMode):
    def __init__(self, found: Counter[Place]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name.partition("::")[2]
        indices = args[1] if name in INDEXING else ()
        # a number that is put at the places of a mask is filled in, without looking for them
        fills = name in INDEXING - {"index"} and args[2].numel() == 1
        if name in ASKING or (not fills and any(isinstance(i, Tensor) and i.dtype == torch.bool for i in indices)):
            self.found[_place()] += 1
        return function(*args, **(kwargs or {}))


class _Called(TorchFunctionMode):
    def __init__(self, found: Counter[Place]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in COPYING:
            self.found[_place()] += 1
        return function(*args, **(kwargs or {}))


def _place() -> Place:
    for frame in reversed(traceback.extract_stack(limit=40)):
        path = Path(frame.filename)
        for package in ("torchvision", "seg"):
            if package in path.parts:
                return package, path.name
    return "", ""
