"""Tensors that say they lie on a CUDA device, on a machine that has none: they have a shape, a type and a device, but no values.

What makes the host wait for a value (`item`, `nonzero`, a boolean index, `bincount`, `.numpy()`), and what mixes two devices, raises.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

CUDA = torch.device("cuda")


@contextmanager
def fake_cuda() -> Iterator[FakeTensorMode]:
    """Within it new tensors are fakes."""
    with FakeTensorMode() as mode:
        yield mode


def moved(module: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """A module whose parameters and buffers, real or fake, lie on the device; other tensors that it keeps stay where they are."""
    for part in module.modules():
        for kept in (part._parameters, part._buffers):
            for name, value in kept.items():
                if value is not None:
                    there = (value if isinstance(value, FakeTensor) else mode.from_tensor(value)).detach().to(CUDA)
                    kept[name] = nn.Parameter(there, requires_grad=False) if isinstance(value, nn.Parameter) else there
    return module
