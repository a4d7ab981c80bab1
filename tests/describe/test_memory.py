"""The memory that a network needs: counted by hand, and the same with and without values."""

import torch
from torch import nn

from seg.describe.costs import LiveBytes, noise, predicted


def test_what_is_alive_is_counted() -> None:
    """A tensor of 1000 float32 and two of its size: views cost nothing, and what is freed no longer counts."""

    def work(live: LiveBytes) -> None:
        first = torch.zeros(1000)
        view = first.view(10, 100)
        second = view * 2
        del first, view
        third = second + 1
        del second, third

    assert predicted(work) == 8000


def test_a_training_step_by_hand() -> None:
    """A linear layer of 100 x 100 without bias, for 50 rows: weights, their gradient, Adam's two states, the input and the output's."""
    weights, rows = 100 * 100 * 4, 50 * 100 * 4

    def work(live: LiveBytes) -> None:
        layer = nn.Linear(100, 100, bias=False)
        x = torch.zeros(50, 100)
        learner = torch.optim.Adam(layer.parameters(), foreach=False)
        for _ in range(2):
            layer(x).sum().backward()
            learner.step()
            learner.zero_grad()

    found = predicted(work)
    assert found is not None
    assert 4 * weights + rows <= found <= 4 * weights + 3 * rows + 2 * weights  # Adam has two sums of their size for a moment


def test_values_change_nothing() -> None:
    def work(live: LiveBytes) -> None:
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 3))
        network(torch.zeros(2, 3, 40, 40)).sum().backward()

    live = LiveBytes()
    with live:
        work(live)
    assert predicted(work) == live.most


def test_work_that_depends_on_values_is_not_predicted() -> None:
    assert predicted(lambda _: torch.zeros(3, 4).nonzero().sum().item()) is None


def test_noise_has_what_a_batch_has() -> None:
    batch = noise(2, (50, 70), 3, 4, 5)
    assert batch.images.shape == (2, 3, 50, 70)
    assert set(batch.semantic.unique().tolist()) <= {0, 1, 2, 3}
    assert [len(categories) for categories in batch.categories] == [5, 5]
    assert all((boxes[:, 2:] > boxes[:, :2]).all() for boxes in batch.boxes)
    assert torch.equal(batch.images, noise(2, (50, 70), 3, 4, 5).images)
