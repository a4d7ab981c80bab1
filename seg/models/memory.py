"""Running out of memory: the errors that mean it, and what gives memory back."""

import gc

import torch

SIGNS = (
    "out of memory",  # CUDA, ROCm and Apple's Metal
    "_STATUS_ALLOC_FAILED",  # cuBLAS and cuDNN
    "CUDNN_STATUS_NOT_SUPPORTED",  # cuDNN, where its workspace does not fit
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
