"""Two ranks exchange gradients while they compute the next ones, agree between their hosts, and never wait for one that failed."""

from functools import partial
from typing import Any

import pytest
import torch
import torch.distributed as dist
from gloo import in_ranks
from rank_cases import LAYERS, SLOW, averaged, failing, overlapped, searched
from torch import nn

from seg.training.step.exchange import Agreement, Exchange


@pytest.mark.parametrize("compressed", [False, True], ids=["float32", "bf16"])
def test_gradients_are_the_means_of_the_ranks(compressed: bool) -> None:
    """Of parameters that all, one or none of them use; the buffer that changed is rank 0's, batch norms' statistics are each rank's own."""
    first, second = in_ranks(averaged, compressed)
    assert first["moved"] == second["moved"]
    assert first["statistics"] != second["statistics"]
    assert first["shared"] == second["shared"] == first["statistics"]
    flags = [("all_reduce", "torch.uint8", 1 + 8 + 2), ("broadcast", "torch.float32", 3)]
    early, buckets, calls = first["step 0"]
    assert (early, calls) == (0, flags), "the unused layer comes last, so that its bucket is waited for until the end"
    assert buckets > 3
    assert first["step 1"][2] == [("all_reduce", "torch.uint8", 1 + 10 + 2), flags[1]]


def test_the_exchange_goes_on_during_the_backward_pass() -> None:
    """At most 1.1 times the longer of the two, and a last bucket; one after the other takes twice as long. The best of six counts."""
    assert min(max(times) for times in zip(*in_ranks(overlapped), strict=True)) <= 1.1 * LAYERS * SLOW + SLOW


def test_a_rank_that_fails_hands_in_zeros_and_none_waits() -> None:
    first, second = in_ranks(failing)
    assert first[:4] == [6, False, 6, True]
    assert 0 < second[0] < 6
    assert second[1:4] == [False, 6, True]
    assert first[4] == second[4]


def test_ranks_of_unequal_memory_search_without_each_other(prepared: Any) -> None:
    first, second = in_ranks(searched, prepared)
    assert (first, second) == ((3, [1, 1, 2, 4, 8, 6, 7], True), (3, [1, 1, 2, 4, 3], True))


def test_one_rank_exchanges_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "all_reduce", partial(pytest.fail, "it exchanged"))
    network = nn.Linear(2, 2)
    own = Exchange(network)
    own.begin(list(network.parameters()))
    own.last()
    network(torch.ones(1, 2)).sum().backward()
    assert own.finish(failed=False)
    assert not own.finish(failed=True)
    assert Agreement().largest([3, 5]) == [3, 5]
    assert own.hooks == []
