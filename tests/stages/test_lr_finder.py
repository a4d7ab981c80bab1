"""The range test on losses that are known, and the command on drawn scenes."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MakeConfig
from watched import small

from seg.core.errors import ConfigError, InputError
from seg.stages import lr
from seg.stages.lr import EARLY, Curve, range_test, rates_between, suggestion
from seg.stages.train import load_data
from seg.training.settings import LrFinder

SETTINGS = LrFinder(start=1e-5, end=10.0, steps=61, smoothing=0.0, stop=4.0)


def test_rates_rise_by_one_factor_from_start_to_end() -> None:
    assert rates_between(1e-5, 10.0, 7) == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10])


@pytest.mark.parametrize("steepest", [1e-3, 1e-2, 0.1])
def test_the_steepest_descent_of_a_known_curve(steepest: float) -> None:
    """A logistic fall in log(rate), steepest in its middle, and a rise after it."""
    curve = range_test(lambda rate: 2 - 1 / (1 + math.exp(-3 * math.log(rate / steepest))) + (rate / 3) ** 4, SETTINGS)
    best = suggestion(curve)
    assert best is not None
    assert curve.rates[best] == pytest.approx(steepest, rel=0.3)


def test_it_ends_where_the_loss_explodes() -> None:
    curve = range_test(lambda rate: 1.0 if rate < 0.1 else 4.1, SETTINGS)
    assert curve.losses[-2:] == [1.0, 4.1]
    curve = range_test(lambda rate: 1.0 if rate < 0.1 else math.nan, SETTINGS)
    assert set(curve.losses) == {1.0}
    assert curve.rates[-1] < 0.1


def test_the_running_mean_is_corrected_for_its_start() -> None:
    losses = iter(np.random.default_rng(0).uniform(1, 2, 61).tolist())
    curve = range_test(lambda _: next(losses), SETTINGS.model_copy(update={"smoothing": 0.9}))
    weights = 0.9 ** np.arange(61)[::-1]
    assert curve.smoothed[-1] == pytest.approx(np.average(curve.losses, weights=weights))
    assert curve.smoothed[0] == pytest.approx(curve.losses[0])


def test_a_loss_that_falls_nowhere_gives_no_suggestion() -> None:
    rates = rates_between(1e-5, 10, 40)
    assert suggestion(Curve(rates, [1.0] * 40, [1.0] * 40)) is None
    rising = [1 + 0.1 * i for i in range(40)]
    assert suggestion(Curve(rates, rising, rising)) is None
    assert suggestion(Curve(rates[:EARLY], rising[:EARLY], rising[:EARLY])) is None


@pytest.fixture
def no_side_effect() -> object:
    """The command asks torch for deterministic algorithms, as Lightning does for a training."""
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("no_side_effect")
def test_the_command(tmp_path: Path, prepared: Path, make_config: MakeConfig, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = small(make_config, prepared, tmp_path, "lr_finder.steps=30", "lr_finder.start=1e-4", "lr_finder.smoothing=0.5")
    rate = lr.run(cfg, tmp_path / "first")
    assert f"optimizer.lr={rate:g}\n" in capsys.readouterr().out
    with open(tmp_path / "first/lr.csv", newline="") as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    assert rows[0]["lr"] == 1e-4
    assert any(row["lr"] == pytest.approx(rate, rel=0.05) for row in rows)
    assert (tmp_path / "first/lr.png").read_bytes().startswith(b"\x89PNG")
    assert lr.run(cfg, tmp_path / "again") == rate
    for file_name in ("lr.csv", "lr.png"):
        assert (tmp_path / "first" / file_name).read_bytes() == (tmp_path / "again" / file_name).read_bytes()


@pytest.mark.usefixtures("no_side_effect")
def test_rates_too_small_to_learn_from_give_none(tmp_path: Path, prepared: Path, make_config: MakeConfig) -> None:
    frozen = ["lr_finder.steps=20", "lr_finder.start=1e-30", "lr_finder.end=1e-29", "trainer.batch_size=9", "lr_finder.smoothing=0.0"]
    with pytest.raises(InputError, match="the loss falls at no rate from 1e-30 to 1e-29; set"):
        lr.run(small(make_config, prepared, tmp_path, *frozen), tmp_path / "out")
    with pytest.raises(ConfigError, match=r"lr_finder\.start=10: expected less than lr_finder\.end=1"):
        lr.run(make_config("lr_finder.start=10.0", "lr_finder.end=1.0"), tmp_path / "out")


@pytest.mark.usefixtures("no_side_effect")
def test_groups_keep_their_share_of_the_rate(
    tmp_path: Path, prepared: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    step = torch.optim.SGD.step

    def watched(self: torch.optim.SGD, *arguments: object, **named: object) -> object:
        seen.append([group["lr"] for group in self.param_groups])
        return step(self, *arguments, **named)

    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    torch.save({"x": torch.zeros(1)}, tmp_path / "w.pth")
    network = {"_target_": "segmentation_models_pytorch.Unet", "encoder_name": "resnet18", "encoder_weights": None, "encoder_depth": 3}
    network["decoder_channels"] = [8, 8, 8]
    cfg = small(make_config, prepared, tmp_path, "finetune=discriminative", "finetune.lr_factor=0.5", network=network)
    take = lr.training_step(cfg, load_data(cfg), torch.device("cpu"))
    for rate in (0.5, 0.25):
        assert math.isfinite(take(rate))
    depth = len(seen[0])
    assert depth > 2
    assert seen == [[rate * 0.5**i for i in range(depth)] for rate in (0.5, 0.25)]
