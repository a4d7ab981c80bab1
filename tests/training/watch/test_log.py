"""What trackers hold after a training, read back with their own libraries; and a training that goes on in the same log."""

import csv
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import MakeConfig
from watched import own_scratch, small

from seg.configure.config import Config
from seg.core.errors import ConfigError
from seg.data.sample import Prediction, Sample
from seg.loading.batch import Batch
from seg.models.semantic import SemanticModel
from seg.stages.train import run
from seg.training.callbacks import GAP, side_by_side, spread

WATCHED = ["logger.every=1", "logger.pictures.every=1", "logger.pictures.images=2", "optimizer.weight_decay=0.125"]


@pytest.fixture
def configured(tmp_path: Path, prepared: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> Any:
    """(logger, *overrides) -> the configuration of a training with this logger."""
    own_scratch(tmp_path, monkeypatch)

    def make(logger: str, *overrides: str) -> Config:
        return small(make_config, prepared, tmp_path, f"logger={logger}", *WATCHED, *overrides)

    return make


def history(out: Path) -> list[dict[str, float]]:
    with open(out / "history.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def interrupted(cfg: Config, out: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until the given step (from 1) fails."""
    count, losses = [0], SemanticModel.losses

    def failing(self: SemanticModel, batch: Batch) -> Any:
        count[0] += 1
        if count[0] == step:
            raise RuntimeError("power cut")
        return losses(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(SemanticModel, "losses", failing)
        with pytest.raises(RuntimeError, match="power cut"):
            run(cfg, out)


def test_tensorboard(configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard", reason="an extra")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    interrupted(configured("tensorboard"), tmp_path / "out", 4, monkeypatch)  # the second epoch's second step
    run(configured("tensorboard"), tmp_path / "out")
    (folder,) = (tmp_path / "logs/tensorboard").iterdir()
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    rows = history(tmp_path / "out")
    for name in ("train_loss", "val_miou", "lr", "epoch"):
        assert [(e.step, pytest.approx(e.value, rel=1e-5)) for e in events.Scalars(name)] == [(2, rows[0][name]), (4, rows[1][name])]
    losses = events.Scalars("batch/loss")
    assert [e.step for e in losses] == [1, 2, 3, 4], "the step that was repeated is there once"
    assert np.mean([e.value for e in losses[:2]]) == pytest.approx(rows[0]["train_loss"], rel=1e-4)
    assert all(e.value > 0 for e in events.Scalars("images_per_second"))
    pictures = [tag for tag in events.Tags()["images"] if tag.startswith("predictions/")]
    assert len(pictures) == 1, "the validation split has no more"
    assert [e.step for e in events.Images(pictures[0])] == [2, 4]
    assert (events.Images(pictures[0])[0].width, events.Images(pictures[0])[0].height) == (3 * 256 + 2 * GAP, 256)
    assert yaml.safe_load((folder / "hparams.yaml").read_text())["optimizer.weight_decay"] == 0.125


@pytest.mark.slow
def test_mlflow(configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow, as its database is made first."""
    pytest.importorskip("mlflow", reason="an extra that is large")
    pytest.importorskip("sqlalchemy", reason="mlflow-skinny comes without its database")
    from mlflow.tracking import MlflowClient

    interrupted(configured("mlflow"), tmp_path / "out", 3, monkeypatch)
    run(configured("mlflow"), tmp_path / "out")
    client = MlflowClient(f"sqlite:///{tmp_path / 'logs/mlflow/mlflow.db'}")
    experiment = client.get_experiment_by_name("seg")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["optimizer.weight_decay"] == "0.125"
    rows = history(tmp_path / "out")
    for name in ("train_loss", "val_miou"):
        logged = client.get_metric_history(found.info.run_id, name)
        assert [(m.step, pytest.approx(m.value)) for m in logged] == [(2, rows[0][name]), (4, rows[1][name])]
    assert [m.step for m in client.get_metric_history(found.info.run_id, "batch/loss")] == [1, 2, 3, 4]
    pictures = [a.path for a in client.list_artifacts(found.info.run_id, "images") if a.path.endswith(".png")]
    assert len(pictures) == 2
    assert all((tmp_path / "logs/mlflow/artifacts" / found.info.run_id / "artifacts" / path).is_file() for path in pictures)


@pytest.mark.slow
def test_wandb(configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow, as its service is a process of its own."""
    pytest.importorskip("wandb", reason="an extra that is large")
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    monkeypatch.delenv("WANDB_MODE", raising=False)
    run(configured("wandb"), tmp_path / "out")
    (file,) = (tmp_path / "logs/wandb").glob("offline-run-*/*.wandb")
    store = DataStore()
    store.open_for_scan(str(file))
    rows: list[dict[str, Any]] = []
    settings: dict[str, Any] = {}
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.history.item:
            rows.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item})
        settings |= {item.key or "/".join(item.nested_key): item.value_json for item in record.config.update}
    told = history(tmp_path / "out")
    logged = [(row["trainer/global_step"], pytest.approx(row["val_miou"])) for row in rows if "val_miou" in row]
    assert logged == [(2, told[0]["val_miou"]), (4, told[1]["val_miou"])]
    assert [row["trainer/global_step"] for row in rows if "batch/loss" in row] == [1, 2, 3, 4]
    assert json.loads(settings["optimizer.weight_decay"]) == 0.125
    assert len(list(file.parent.glob("files/media/images/predictions/*.png"))) == 2


def test_what_is_not_installed_is_said_before_data_are_read(
    tmp_path: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^logger=wandb: needs the package wandb, which is not installed; pip install -e '\.\[wandb\]'$"):
        run(make_config("logger=wandb", "paths.prepare=/nowhere"), tmp_path)


def test_a_setting_that_a_tracker_does_not_take_is_said(configured: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="an extra")
    with pytest.raises(ConfigError, match=r"^logger=tensorboard: cannot start: .*unexpected keyword argument 'reprot'"):
        run(configured("tensorboard", "+logger.settings.reprot=html"), tmp_path / "out")


def test_a_tracker_that_fails_does_not_end_the_training(
    configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard", reason="an extra")
    from lightning.pytorch.loggers import TensorBoardLogger

    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(TensorBoardLogger, "log_metrics", full)
    run(configured("tensorboard"), tmp_path / "out")
    assert len(history(tmp_path / "out")) == 2
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: logger")]
    assert said == ["warning: logger=tensorboard: nothing more is logged: No space left on device"]


@pytest.mark.parametrize(("there", "wanted", "places"), [(10, 2, [2, 7]), (3, 4, [0, 1, 2]), (9, 1, [4]), (0, 4, [])])
def test_pictures_are_of_images_from_all_over_the_split(there: int, wanted: int, places: list[int]) -> None:
    assert spread(there, wanted) == places


def test_a_picture_shows_truth_and_prediction_in_the_classes_colours(make_info: Any) -> None:
    classes = make_info(2).classes
    empty = np.zeros((256, 256, 0), np.int32), np.zeros(0, np.int32), np.zeros(0, bool)
    truth = np.zeros((256, 256), np.uint8)
    sample = Sample("a", np.full((256, 256, 3), 100, np.uint8), truth, *empty)
    picture = side_by_side(sample, Prediction(truth + np.uint8(1)), classes, 0.5)
    mixed = [[int(100 + (channel - 100) * 0.6) for channel in info.color] for info in classes]
    starts = [0, 256 + GAP, 2 * (256 + GAP)]
    assert [picture[128, start + 128].tolist() for start in starts] == [pytest.approx(color, abs=1) for color in ([100] * 3, *mixed)]
    assert (picture[:, 256 : 256 + GAP] == 255).all()
