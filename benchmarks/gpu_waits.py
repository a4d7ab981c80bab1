"""Where the host waits for the GPU in a training step; on a CPU, where it would."""

import gc
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch.utils._python_dispatch import TorchDispatchMode

ASKING = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "bincount", "_unique2", "masked_select", "nms"}


@contextmanager
def host_waits(device: torch.device) -> Iterator[Counter[str]]:
    """How often the host waits for the device within the block, by file; on a CPU, how often it would."""
    found: Counter[str] = Counter()
    if device.type == "cpu":
        with _Asked(found):
            yield found
        return
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *_, **__: found.update([_place()])
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")


class Third(Callback):
    """Counts the waits of the third step, with all callbacks' own; stands first."""

    def __init__(self, device: torch.device) -> None:
        self.counter, self.found, self.open = host_waits(device), Counter[str](), False

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        self._close()
        if trainer.global_step == 2:
            self.found, self.open = self.counter.__enter__(), True

    def on_validation_start(self, *_: Any) -> None:
        self._close()

    def _close(self) -> None:
        if self.open:
            self.open = False
            self.counter.__exit__(None, None, None)
            print(f"waits of the third step: {sum(self.found.values())} {dict(self.found)}")
            print(f"tensors behind it: {held() / 2**30:.2f} GB")


def held() -> int:
    """Bytes of all tensors of this process: of weights, gradients and an optimizer's state, between two steps."""
    storages = [thing.untyped_storage() for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor) and not thing.is_meta]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


class _Asked(TorchDispatchMode):
    def __init__(self, found: Counter[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function._schema.name.partition("::")[2] in ASKING:
            self.found[_place()] += 1
        return function(*args, **(kwargs or {}))


def _place() -> str:
    """torchvision, or the file of seg that asks; else the file that does."""
    frames = [Path(frame.filename) for frame in reversed(traceback.extract_stack(limit=40)[:-2])]
    for path in frames:
        for package in ("torchvision", "seg"):
            if package in path.parts:
                return package if package == "torchvision" else f"seg {path.name}"
    return frames[0].name
