"""A training's number of threads by a pretended clock: in history.csv, in checkpoints, agreed on by ranks."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

from seg.core import environment
from seg.core.errors import ConfigError
from seg.runtime import threads as runtime
from seg.training import callbacks as module
from seg.training.callbacks import StepThreads
from seg.training.resume.history import History
from seg.training.step.exchange import Agreement

QUIET, BUSY = {1: 0.2, 2: 0.15}, {1: 0.2, 2: 1.0}
STEPS = 20


class Clock:
    """A step's time depends on the number of threads that torch has."""

    def __init__(self) -> None:
        self.now, self.pace, self.free, self.set = 0.0, QUIET, 2.0, [0]

    def step(self) -> None:
        self.now += self.pace[self.set[-1]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(environment, "num_cores", lambda: 2)
    monkeypatch.setattr(runtime, "_of_torch", lambda: 2)
    monkeypatch.setattr(module, "Neighbours", lambda: SimpleNamespace(free=lambda: made.free))
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: made.now))
    monkeypatch.setattr(module, "Threads", lambda *given, **more: runtime.Threads(*given, **more, apply=made.set.append))
    return made


class Stepped(pl.LightningModule):
    def __init__(self, clock: Clock, agreement: Any = None) -> None:
        super().__init__()
        self.clock, self.layer = clock, nn.Linear(1, 1)
        self.step: Any = SimpleNamespace(exchange=SimpleNamespace(agreement=agreement or Agreement()))

    def training_step(self, batch: Any, _: int) -> Tensor:
        self.clock.step()
        return self.layer(torch.ones(1)).sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.0)

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        return batch


def train(clock: Clock, folder: Path, epochs: int, setting: int | str = "auto") -> list[dict[str, float]]:
    """The history's rows. It goes on from a training of fewer epochs."""
    history, last = History(), folder / "last.ckpt"
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[StepThreads(setting), history],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    batches = [SimpleNamespace(images=torch.empty(8, 3, 4, 4)) for _ in range(STEPS)]
    data = torch.utils.data.DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    trainer.fit(Stepped(clock), data, ckpt_path=last if last.exists() else None, weights_only=True)
    trainer.save_checkpoint(last)
    return history.rows


def test_each_epoch_has_the_mean_of_its_steps(clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """5 steps with two threads, 4 with one, 11 with two; later a neighbour comes."""
    rows = train(clock, tmp_path, 2)
    assert [row["threads"] for row in rows] == [(2 * 16 + 4) / 20, 2.0]
    clock.pace, clock.free = BUSY, 1.0
    rows = train(clock, tmp_path, 4)
    assert clock.set[-1] == 1
    assert rows[0]["threads"] == 1.8, "those of before the interruption are kept"
    assert rows[2]["threads"] == pytest.approx((2 * 2 + 18) / 20), "it starts with two, of which it knows the pace"
    assert rows[3]["threads"] == 1.0
    assert capsys.readouterr().out == "2 threads -> 1: a step takes 0.2 s where 1 s before; another program uses the cores\n"
    assert train(clock, tmp_path, 5)[4]["threads"] == 1.0, "a resumed run starts with the number that it had"


def test_a_number_is_kept(clock: Clock, tmp_path: Path) -> None:
    assert [row["threads"] for row in train(clock, tmp_path, 2, 1)] == [1.0, 1.0]
    assert set(clock.set) == {0, 1}
    clock.pace = BUSY
    assert train(clock, tmp_path, 3, 2)[2]["threads"] == 2.0, "also by a resumed run"


def test_an_epoch_that_goes_on_counts_the_steps_before_the_interruption() -> None:
    callback = StepThreads(2)
    callback.steps, callback.sum = 3, 5
    resumed = StepThreads(2)
    resumed.load_state_dict(callback.state_dict())
    logged: dict[str, float] = {}
    resumed.on_cpu = True
    resumed.on_train_epoch_end(SimpleNamespace(), SimpleNamespace(log=logged.__setitem__))  # type: ignore[arg-type]
    assert logged == {"threads": 5 / 3}


class Two(Agreement):
    """What another rank says of its share of the cores, and of each step."""

    def __init__(self, clock: Clock, other: dict[int, float]) -> None:
        super().__init__()
        self.clock, self.other, self.asked = clock, other, list[int]()

    def largest(self, numbers: Sequence[int], kind: torch.dtype = torch.int64) -> list[int]:
        self.asked.append(len(numbers))
        theirs = [-4] if len(numbers) == 1 else [round(1e6 * self.other[self.clock.set[-1]]), numbers[1]]
        return [max(pair) for pair in zip(numbers, theirs, strict=True)]


@pytest.mark.parametrize(("cores", "expected"), [(4, 1), (2, None)])
def test_ranks_have_one_number_by_the_slowest_of_them(clock: Clock, monkeypatch: pytest.MonkeyPatch, cores: int, expected: int) -> None:
    """Two, of two cores each: the other one has a neighbour. Ranks of a core each ask each other nothing."""
    monkeypatch.setattr(environment, "num_cores", lambda: cores)
    other = Two(clock, BUSY)
    callback, stepped = StepThreads("auto"), Stepped(clock, other)
    root = SimpleNamespace(root_device=torch.device("cpu"))
    trainer: Any = SimpleNamespace(
        strategy=root, world_size=2, num_nodes=1, global_rank=0, local_rank=0, node_rank=0, is_global_zero=False, callback_metrics={}
    )
    callback.setup(trainer, stepped, "fit")
    callback.on_train_start(trainer, stepped)
    for i in range(STEPS):
        batch: Any = SimpleNamespace(images=torch.empty(8, 3, 4, 4))
        callback.on_train_batch_start(trainer, stepped, batch, i)
        clock.step()
        callback.on_train_batch_end(trainer, stepped, None, batch, i)
    if expected:
        assert clock.set[-1] == expected
        assert other.asked == [1] + [2] * STEPS
    else:
        assert (set(clock.set[1:]), other.asked) == ({1}, [1])


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "null"])
def test_other_values_are_one_clear_error(make_config: Any, value: str) -> None:
    with pytest.raises(ConfigError, match=r"^runtime\.threads=.*: expected (greater than 0|integer) or 'auto', got \w+$"):
        make_config(f"runtime.threads={value}")
