"""What the machine's devices do well."""

import torch

from seg.core.private_torch import has_bf16_instructions


def best_device() -> torch.device:
    """A CUDA GPU, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def device_of(accelerator: str) -> torch.device:
    """The device that Lightning's `accelerator` means; the best there is where this machine lacks it."""
    return torch.device("cpu") if accelerator == "cpu" else best_device()


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
