"""What is said where steps wait for data, and how often."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from seg.runtime import speed
from seg.runtime.speed import Starvation, advice


@pytest.mark.parametrize(
    ("loading", "said"),
    [
        ((0, 8, True), "while the device idles: set runtime.workers=7, or runtime.cache=memory"),
        ((0, 8, False), "keep them decoded (runtime.cache=memory)"),
        ((4, 16, True, 0.95), "there are 16 cores: set runtime.workers=15"),
        ((7, 8, True, 0.95), "keep all of 8 cores busy: set runtime.cache=memory, store augmented copies (augment.copies)"),
        ((7, 8, True, 0.2), "compute 20% of their time, so they wait for the disk: set runtime.cache=memory"),
        ((7, 8, True, None), "keep all of 8 cores busy"),
    ],
)
def test_the_advice_fits_what_holds_the_loading_up(loading: tuple[Any, ...], said: str) -> None:
    assert said in advice(*loading)


class Measured:
    def __init__(self, share: float, counted: int) -> None:
        self.data_wait, self.counted = share, counted

    def synchronize(self) -> None:
        pass


def lines_of(share: float, counted: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], epochs: int = 2) -> list[str]:
    ticks = iter([(0.0, 0.0), (10.0, 18.0)] * epochs)
    monkeypatch.setattr(speed, "_computed", lambda: next(ticks))
    monkeypatch.setattr(speed, "num_cores", lambda: 4)
    strategy, loader = SimpleNamespace(root_device=torch.device("cuda")), SimpleNamespace(num_workers=2)
    trainer: Any = SimpleNamespace(is_global_zero=True, is_last_batch=True, strategy=strategy, train_dataloader=loader)
    callback = Starvation(0.3, Measured(share, counted))  # type: ignore[arg-type]
    for _ in range(epochs):
        callback.on_train_batch_start(trainer, None, None, 0)  # type: ignore[arg-type]
        callback.on_train_batch_end(trainer)
    return capsys.readouterr().out.splitlines()


def test_it_is_said_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(0.46, 100, monkeypatch, capsys)
    assert len(lines) == 1
    assert lines[0].startswith("warning: steps waited for data 46% of their time; the 2 loading processes cannot keep up")


@pytest.mark.parametrize(("share", "counted"), [(0.29, 100), (0.9, 9)], ids=["fed", "too-few-steps"])
def test_it_is_not_said(share: float, counted: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert lines_of(share, counted, monkeypatch, capsys) == []
