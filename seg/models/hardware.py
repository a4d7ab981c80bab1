"""What the machine's devices do well; and running out of memory: the errors that mean it, and what gives memory back."""

import gc
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from seg.core.errors import ConfigError
from seg.core.private_torch import has_bf16_instructions


def best_device() -> torch.device:
    """A CUDA GPU, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def device_of(accelerator: str) -> torch.device:
    """The device that Lightning's `accelerator` means; the best there is where this machine lacks it.

    gpu:N: the CUDA GPU of this number; ConfigError where there is none.
    """
    if accelerator == "cpu":
        return torch.device("cpu")
    _, numbered, number = accelerator.partition(":")
    if not numbered:
        return best_device()
    if int(number) >= (count := torch.cuda.device_count()):
        known = f"expected gpu:0 to gpu:{count - 1}" if count else "this machine has no CUDA GPU; expected auto or cpu"
        raise ConfigError(f"accelerator {accelerator}: {known}")
    return torch.device("cuda", int(number))


def hints(precision: str, device: torch.device, used: int) -> list[str]:
    """Lines on what a training leaves unused. precision: as `choose_precision` takes it; used: GPUs of this machine that train."""
    if device.type != "cuda":
        return []
    found = idle_gpus(device, used, f"trainer=ddp trainer.devices={torch.cuda.device_count()} trains on all of them")
    if precision == "auto" and not has_fast_bf16(device) and torch.cuda.get_device_capability(device) >= (7, 0):
        name = torch.cuda.get_device_name(device)
        found.append(f"{name} multiplies float16 in hardware, but not bf16; trainer.precision=16-mixed takes less time than 32-true")
    return found


def idle_gpus(device: torch.device, used: int, way: str) -> list[str]:
    """A line where this machine has more GPUs than are used, with the way to use all."""
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    return [f"{count - used} of {count} GPUs idle; {way}"] if count > used else []


def choose_precision(setting: str, device: torch.device) -> str:
    """`auto` -> bf16-mixed where the device multiplies bf16 in hardware, else 32-true; other settings stay."""
    if setting != "auto":
        return setting
    return "bf16-mixed" if has_fast_bf16(device) else "32-true"


def set_float32_matmul(setting: str, device: torch.device) -> None:
    """How float32 is multiplied on a GPU, in matrix products and convolutions alike; a CPU's stays exact.

    highest: float32. high: TF32, whose products have 10 bits of mantissa and are summed in float32. medium: bf16 in matrix products
    where torch has it, else TF32.
    """
    if device.type == "cuda":
        torch.set_float32_matmul_precision(setting)
        torch.backends.cudnn.allow_tf32 = setting != "highest"


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context in which a network computes in a precision of `trainer.precision`, which is no longer `auto`."""
    kind = torch.float16 if precision == "16-mixed" else torch.bfloat16
    return torch.autocast(device.type, kind, enabled=precision != "32-true")


def has_fast_bf16(device: torch.device) -> bool:
    """Whether matrix products in bf16 are hardware instructions (AVX512-BF16, AMX; Ampere and later)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return has_bf16_instructions()
    return False


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
