"""What the machine's devices do well."""

import torch

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
