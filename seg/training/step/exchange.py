"""What processes that train together tell each other in a step. A process alone goes through the same calls, which then do nothing."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

BUCKET = 25 * 2**20
"""Bytes that travel together, as torch's DistributedDataParallel has it."""


class Exchange:
    """All processes of a training."""

    def __init__(self) -> None:
        self.count = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        self._hosts: Any = None
        # Flags travel between the hosts: through the device, each step would wait for all that the device still has to do.
        if self.count > 1 and dist.get_backend() != "gloo":
            self._hosts = dist.new_group(backend="gloo")

    def any_of(self, flags: Sequence[bool]) -> list[bool]:
        """Of each flag, whether it is set in any process."""
        if self.count == 1:
            return list(flags)
        shared = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(shared, dist.ReduceOp.MAX, group=self._hosts)
        return [bool(flag) for flag in shared]

    def least(self, number: int) -> int:
        """The smallest of the processes' numbers."""
        if self.count == 1:
            return number
        shared = torch.tensor([number])
        dist.all_reduce(shared, dist.ReduceOp.MIN, group=self._hosts)
        return int(shared)

    def average_gradients(self, parameters: Sequence[nn.Parameter], present: Sequence[bool]) -> None:
        """Replace each gradient by the mean of all processes'; present: whether any of them has one."""
        if self.count == 1:
            return
        for parameter, there in zip(parameters, present, strict=True):
            if there and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in _buckets(p.grad for p in parameters if p.grad is not None):
            flat = torch.cat([t.reshape(-1) for t in bucket]).div_(self.count)
            dist.all_reduce(flat)
            _fill(bucket, flat)

    def share_buffers(self, model: nn.Module) -> None:
        """Give every process the first one's buffers: the running statistics of batch norms."""
        if self.count == 1:
            return
        for bucket in _buckets(model.buffers()):
            flat = torch.cat([t.reshape(-1) for t in bucket])
            dist.broadcast(flat, 0)
            _fill(bucket, flat)


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in order, those of one type together, up to BUCKET bytes or a single tensor."""
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_type.setdefault(tensor.dtype, []).append(tensor)
    for alike in by_type.values():
        bucket: list[Tensor] = []
        for tensor in alike:
            if bucket and sum(t.nbytes for t in bucket) + tensor.nbytes > BUCKET:
                yield bucket
                bucket = []
            bucket.append(tensor)
        yield bucket


def _fill(bucket: Sequence[Tensor], flat: Tensor) -> None:
    for tensor, values in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
        tensor.copy_(values.view(tensor.shape))
