"""All that this project uses of torch and is not documented by torch, tried with torch 2.15.0.

tests/core/test_private_torch.py fails where a version changes it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing, checkpoint_wrapper
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["TorchDispatchMode", "apply_activation_checkpointing", "checkpoint_wrapper"]
"""What sees every operation of torch that runs within it; activation checkpointing of modules in place, under the names that they have."""
Call = Callable[..., Any]


def copy_all(sources: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
    """Copy tensors into others, which neighbours in the lists share their type with, in few calls (`_foreach_copy_`). A network has
    hundreds of small buffers."""
    start = 0
    for stop in range(1, len(sources) + 1):
        if stop == len(sources) or sources[stop].dtype != sources[start].dtype:
            torch._foreach_copy_(list(targets[start:stop]), list(sources[start:stop]))
            start = stop


def move_towards(tensors: Sequence[Tensor], others: Sequence[Tensor], share: float) -> None:
    """Move floating-point tensors by a share of the way to others, in one call (`_foreach_lerp_`)."""
    if tensors:
        torch._foreach_lerp_(list(tensors), list(others), share)


def shared_storage(num_bytes: int) -> torch.UntypedStorage:
    """Memory that other processes can map, not yet filled, as torch's own collate function takes it."""
    return torch.UntypedStorage._new_shared(num_bytes)


def changes_in_place(tensor: Tensor) -> int:
    """How often a tensor was changed in place so far; autograd counts it."""
    return tensor._version


def has_bf16_instructions() -> bool:
    """Whether the CPU multiplies bf16 matrices in hardware (AVX512-BF16, AMX); False where torch cannot tell."""
    return any(getattr(torch.cpu, f"_is_{name}_supported", lambda: False)() for name in ("avx512_bf16", "amx_tile"))


def calls_of(network: nn.Module) -> tuple[Call, Call]:
    """What a call of a network that `Module.compile` was called on runs: (uncompiled, compiled)."""
    compiled = network._compiled_call_impl
    assert compiled is not None
    return network._call_impl, compiled


def replace_compiled_call(network: nn.Module, call: Call) -> None:
    """Have a call of the network run `call`; copies and pickles of the network run uncompiled."""
    network._compiled_call_impl = call


def compiling_backward_first() -> AbstractContextManager[Any]:
    """Compile the backward pass together with the forward pass, so that either fails before anything has run. Does nothing in versions
    that always do so."""
    from torch._functorch import config

    known = hasattr(config, "force_non_lazy_backward_lowering")
    return config.patch(force_non_lazy_backward_lowering=True) if known else nullcontext()


def is_recompile_limit(error: BaseException) -> bool:
    """Whether an error of a compiled call says that it was compiled for as many cases as torch allows."""
    return type(error).__name__ == "FailOnRecompileLimitHit"


def cause_in_compiler(error: BaseException) -> BaseException | None:
    """The error that torch's compiler met, where it raises one of its own about it."""
    return getattr(error, "inner_exception", None)


def onnx_sides(g: Any, size: Any) -> Any:
    """The argument `size` of an interpolation as one value of an ONNX graph, where the tracing exporter gives a list."""
    from torch.onnx import symbolic_helper

    if not symbolic_helper._is_packed_list(size):
        return size
    return g.op("Concat", *(symbolic_helper._unsqueeze_helper(g, side, [0]) for side in symbolic_helper._unpack_list(size)), axis_i=0)


def onnx_slice(g: Any, value: Any, start: int, stop: int) -> Any:
    """value[start:stop] of an ONNX graph."""
    from torch.onnx import symbolic_helper

    return symbolic_helper._slice_helper(g, value, axes=[0], starts=[start], ends=[stop])
