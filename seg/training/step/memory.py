"""Running out of memory: the errors that mean it, and what gives memory back."""

import gc

import torch
from lightning.pytorch.utilities.memory import is_oom_error

SIGNS = ("out of memory", "_STATUS_ALLOC_FAILED", "can't allocate memory", "not enough memory")
"""In the messages of CUDA, ROCm and Apple's Metal; of cuBLAS and cuDNN; of torch's allocator on a CPU."""

ADVICE = "use smaller images or crops (augment), a smaller model.scale, trainer.precision=bf16-mixed, or a smaller encoder or model"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: the device's, or the host's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or is_oom_error(error):
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
