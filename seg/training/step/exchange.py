"""What the ranks of a training exchange: the gradients of a step, buffers, and what they have to agree on.

Gradients go in buckets, each as soon as the step's last backward pass has computed all of its gradients, while that pass goes on. In every
attempt at a step every rank starts the exchange of the same buckets in the same order, whatever happens in it: a rank whose memory ran out
hands in zeros for the rest, so that no rank waits for it, and then all throw the means away and repeat the step."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from seg.core.private_torch import changes_in_place, copy_all
from seg.models.finetune import BATCH_NORMS

LARGEST_BUCKET = 25 * 2**20  # bytes that ranks exchange in one call at most, as torch's DistributedDataParallel has it
SMALLEST_BUCKET, BUCKETS = 2**20, 16
"""Gradients are divided into so many buckets, because the last one overlaps with nothing; but smaller calls cost more than they gain."""


class Exchange:
    """What the ranks tell each other in a step. A rank alone makes the same calls, which then do nothing.

    model: whose gradients and buffers are exchanged. compressed: whether gradients travel as bf16."""

    def __init__(self, model: nn.Module, compressed: bool = False) -> None:
        self.agreement = Agreement()
        self.num_ranks, self.compressed = self.agreement.num_ranks, compressed
        # Statistics of batch norms change nothing in a training, and are shared when they are used: before a validation.
        self.buffers = [b for m in model.modules() if not isinstance(m, BATCH_NORMS) for b in m.buffers(recurse=False)]
        self.parameters: list[nn.Parameter] = []
        self.buckets: list[list[nn.Parameter]] = []
        self.missing: list[set[nn.Parameter]] = []  # of each bucket: whose gradients the last backward pass has not given yet
        self.number_of: dict[nn.Parameter, int] = {}
        self.hooks: list[Any] = []
        self.is_last = False
        self.sent: list[tuple[Tensor, Any]] = []

    def begin(self, parameters: Sequence[nn.Parameter]) -> None:
        """An attempt at a step begins, in which these learn; no gradient is exchanged before `last`."""
        if self.num_ranks == 1:
            return
        if len(parameters) != len(self.parameters) or any(a is not b for a, b in zip(parameters, self.parameters, strict=True)):
            for hook in self.hooks:
                hook.remove()
            size = sum(p.nbytes for p in parameters) // BUCKETS
            size = min(LARGEST_BUCKET, max(SMALLEST_BUCKET, size))
            self.parameters = list(parameters)
            self.buckets = list(_buckets(reversed(parameters), size))  # the last layers' gradients come first
            self.number_of = {p: number for number, bucket in enumerate(self.buckets) for p in bucket}
            self.hooks = [p.register_post_accumulate_grad_hook(self._arrived) for p in parameters]
        self.missing = [set(bucket) for bucket in self.buckets]
        self.versions = [changes_in_place(b) for b in self.buffers]

    def last(self) -> None:
        """The next backward pass is the last one of the step: its gradients are complete, and go as they come."""
        self.is_last = True

    def _arrived(self, parameter: Tensor) -> None:
        if not self.is_last:
            return
        assert isinstance(parameter, nn.Parameter)
        number = self.number_of[parameter]
        if number < len(self.sent):
            raise RuntimeError("a backward pass gave a parameter's gradient twice, after its exchange with other ranks had begun")
        self.missing[number].discard(parameter)
        while len(self.sent) < len(self.buckets) and not self.missing[len(self.sent)]:
            self._send()

    @torch.no_grad()
    def _send(self) -> None:
        """Start the exchange of the next bucket; zeros stand for gradients that are not there."""
        bucket = self.buckets[len(self.sent)]
        there = [p for p in bucket if p.grad is not None]
        flat = (torch.empty if len(there) == len(bucket) else torch.zeros)(
            sum(p.numel() for p in bucket), dtype=bucket[0].dtype, device=bucket[0].device
        )
        places = dict(zip(bucket, _like(flat, bucket), strict=True))
        copy_all([p.grad for p in there if p.grad is not None], [places[p] for p in there])
        flat.div_(self.num_ranks)
        if self.compressed and flat.dtype == torch.float32:
            flat = flat.bfloat16()
        self.sent.append((flat, dist.all_reduce(flat, async_op=True)))

    @torch.no_grad()
    def finish(self, failed: bool) -> bool:
        """The attempt is over; failed: whether memory ran out in this rank, whose gradients are gone then.

        Whether it failed in no rank. If so, each gradient is its mean over the ranks, and buffers that changed are those of rank 0; the
        statistics of batch norms are each rank's own."""
        if self.num_ranks == 1:
            return not failed
        self.is_last = False
        while len(self.sent) < len(self.buckets):
            self._send()
        present = [p.grad is not None for p in self.parameters]
        changed = [changes_in_place(b) != version for b, version in zip(self.buffers, self.versions, strict=True)]
        any_failed, *flags = map(bool, self.agreement.largest([failed, *present, *changed], torch.uint8))
        sent, self.sent = self.sent, []
        for _, work in sent:
            work.wait()
        if any_failed:
            return False
        known = dict(zip(self.parameters, flags, strict=False))
        for bucket, (flat, _) in zip(self.buckets, sent, strict=True):
            learned = [p for p in bucket if known[p]]
            for p in learned:
                p.grad = torch.empty_like(p) if p.grad is None else p.grad
            places = dict(zip(bucket, _like(flat, bucket), strict=True))
            copy_all([places[p] for p in learned], [p.grad for p in learned if p.grad is not None])
        share([b for b, flag in zip(self.buffers, flags[len(present) :], strict=True) if flag])
        return True


class Agreement:
    """What ranks agree on. Flags travel between the hosts: through the device, each step would wait for all that it still has to do."""

    def __init__(self) -> None:
        self.num_ranks = num_ranks()
        self._hosts: Any = dist.new_group(backend="gloo") if self.num_ranks > 1 and dist.get_backend() != "gloo" else None

    def largest(self, numbers: Sequence[int], kind: torch.dtype = torch.int64) -> list[int]:
        """Of each number the largest of the ranks'."""
        if self.num_ranks == 1:
            return list(numbers)
        shared = torch.tensor(numbers, dtype=kind)
        dist.all_reduce(shared, dist.ReduceOp.MAX, group=self._hosts)
        return [int(number) for number in shared.tolist()]


def num_ranks() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def share_buffers(model: nn.Module) -> None:
    """Give every rank the buffers of rank 0, such as the running statistics of batch norms: they are the ones that are kept."""
    share(list(model.buffers()))


@torch.no_grad()
def share(tensors: Sequence[Tensor]) -> None:
    """Give every rank the values that these tensors have in rank 0."""
    if num_ranks() == 1:
        return
    for bucket in _buckets(tensors, LARGEST_BUCKET):
        flat = torch.cat([t.reshape(-1) for t in bucket])
        dist.broadcast(flat, 0)
        copy_all([part.view(t.shape) for part, t in zip(flat.split([t.numel() for t in bucket]), bucket, strict=True)], bucket)


def own_statistics(model: nn.Module) -> Callable[[], None]:
    """Have synchronised batch norms take their statistics from the own rank's images alone, until what is returned is called."""
    norms = [m for m in model.modules() if isinstance(m, nn.SyncBatchNorm)]
    groups = [norm.process_group for norm in norms]
    if norms and num_ranks() > 1:
        alone = dist.new_group([dist.get_rank()], backend="gloo", use_local_synchronization=True)
        for norm in norms:
            norm.process_group = alone

    def restore() -> None:
        for norm, group in zip(norms, groups, strict=True):
            norm.process_group = group

    return restore


def _buckets(tensors: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The tensors in order, those of one type together, up to `size` bytes or a single tensor."""
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_type.setdefault(tensor.dtype, []).append(tensor)
    for alike in by_type.values():
        bucket: list[Tensor] = []
        filled = 0
        for tensor in alike:
            if bucket and filled + tensor.nbytes > size:
                yield bucket
                bucket, filled = [], 0
            bucket.append(tensor)
            filled += tensor.nbytes
        yield bucket


def _like(flat: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Parts of a flat tensor as views of the shapes of others, and of their order in memory where it is a usual one."""
    views = []
    for part, tensor in zip(flat.split([t.numel() for t in tensors]), tensors, strict=True):
        if tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last):
            batch, channels, height, width = tensor.shape
            views.append(part.view(batch, height, width, channels).permute(0, 3, 1, 2))
        else:
            views.append(part.view(tensor.shape))
    return views
