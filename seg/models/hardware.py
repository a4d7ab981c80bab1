"""How a network runs on this machine: what its devices do well; running out of memory: the errors that mean it, and what gives memory back;
and torch.compile for the part of a model that sees whole images, and what is done where it cannot be compiled.

The network is compiled in place (`nn.Module.compile`), so that the names in its state dict stay. It is compiled whole or not at all:
one graph, forward and backward, before anything of it has run. So a failure leaves no batch norm half updated, and the same call is
made again without compilation."""

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from seg.core import private_torch as private
from seg.core.errors import ConfigError

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


def best_device() -> torch.device:
    """A CUDA GPU, else Apple's, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")


def device_of(accelerator: str) -> torch.device:
    """The device that Lightning's `accelerator` means; the best there is where this machine lacks it.

    gpu:N: the CUDA GPU of this number; ConfigError where there is none."""
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
    return setting if setting != "auto" else "bf16-mixed" if has_fast_bf16(device) else "32-true"


def set_float32_matmul(setting: str, device: torch.device) -> None:
    """How float32 is multiplied on a GPU, in matrix products and convolutions alike; a CPU's stays exact.

    highest: float32. high: TF32, whose products have 10 bits of mantissa and are summed in float32. medium: bf16 in matrix products
    where torch has it, else TF32."""
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
    return device.type == "cpu" and private.has_bf16_instructions()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: the device's, or the host's."""
    said = isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
    return said or isinstance(error, torch.OutOfMemoryError | MemoryError)


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

    halved: (images that were tried at once, what the error said) -> how many are tried from now on, at least one; or raises."""
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


def compile_in_place(
    network: nn.Module, key: str, say: Callable[[str], None] = print, backend: str | Callable[..., Any] = "inductor"
) -> None:
    """Have torch.compile (TorchDynamo and TorchInductor) compile the network at its first call.

    A second size of images compiles it once more, for sizes that vary (`dynamic=None` of torch.compile). Training and evaluation, with
    and without gradients, and other sets of frozen parameters are programs of their own. When there are as many as
    `torch._dynamo.config.recompile_limit` (8), those that there are go on, and what fits none of them runs uncompiled.

    key: the setting, which messages name. say: is told, once, where the network cannot be compiled. backend: of
    torch.compile."""
    for name in ("torch._dynamo", "torch._inductor", "torch.utils.cpp_extension"):
        logging.getLogger(name).setLevel(logging.ERROR)  # they would say it too, in many lines
    network.compile(fullgraph=True, backend=backend)
    private.replace_compiled_call(network, _Fallback(network, key, say))


class _Fallback:
    """Calls the compiled network, or the network where that fails for any reason but a lack of memory."""

    def __init__(self, network: nn.Module, key: str, say: Callable[[str], None]) -> None:
        self.plain, compiled = private.calls_of(network)
        self.compiled: private.Call | None = compiled
        self.key, self.say = key, say
        self.stance: Callable[[], AbstractContextManager[Any]] = private.compiling_backward_first

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.compiled is None:
            return self.plain(*args, **kwargs)
        try:
            with self.stance():
                return self.compiled(*args, **kwargs)
        except Exception as error:
            if any(is_out_of_memory(cause) for cause in _causes(error)):
                raise
            failed = error
        given = self.plain(*args, **kwargs)  # a mistake of the network itself is raised here, as ever
        if private.is_recompile_limit(failed):
            self.say(f"{self.key}: the network was compiled for as many cases as torch allows; others run uncompiled")
            self.stance = partial(torch.compiler.set_stance, "eager_on_recompile")
        else:
            self.say(f"{self.key}: the network cannot be compiled and runs uncompiled ({_reason(failed)})")
            self.compiled = None
        return given


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that led to it, the first cause last; torch's compiler keeps some in an attribute."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = private.cause_in_compiler(error) or error.__cause__ or error.__context__


def _reason(error: BaseException) -> str:
    cause = list(_causes(error))[-1]
    text = next((line.strip() for line in str(cause).splitlines() if line.strip()), "")
    return f"{type(cause).__name__}: {text[:200]}" if text else type(cause).__name__
