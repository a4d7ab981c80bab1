"""Running out of memory: the errors that mean it, and what gives memory back."""

import gc
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

SIGNS = (
    "out of memory",  # CUDA, ROCm and Apple's Metal
    "_STATUS_ALLOC_FAILED",  # cuBLAS and cuDNN
    "CUDNN_STATUS_NOT_SUPPORTED",  # cuDNN, where its workspace does not fit
    "unable to find an engine",  # cuDNN's later interface, which tries one engine after the other
    "can't allocate memory",  # torch's allocator on a CPU
    "not enough memory",  # the same on Windows
)
"""Words of the RuntimeErrors that mean a lack of memory."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: the device's, or the host's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def summary(error: BaseException) -> str:
    """The first sentence of an error's message, in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.partition(". ")[0].rstrip(".")[:200]


def recover(device: torch.device) -> None:
    """After memory ran out, give back what nothing uses. What a caught error refers to is in use: call this after the `except`."""
    gc.collect()
    empty_cache(device)


def empty_cache(device: torch.device) -> None:
    """Give back the device's memory that torch keeps for later."""
    if device.type in ("cuda", "mps"):
        torch.get_device_module(device).empty_cache()


def in_parts(
    images: Tensor, device: torch.device, most: int, answer: Callable[[Tensor], T], halved: Callable[[int, str], int]
) -> Iterator[T]:
    """What `answer` gives for parts of a batch of images (B, ...), each of which is copied to the device: of `most` images, and fewer
    where memory runs out.

    halved: (images that were tried at once, what the error said) -> how many are tried from now on, at least one; or raises.
    """
    done = 0
    while done < len(images):
        part = images[done : done + most]
        try:
            found = answer(part.to(device, non_blocking=device.type == "cuda"))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            problem = summary(error)
        else:
            done += len(part)
            yield found
            continue
        recover(device)
        most = halved(len(part), problem)
