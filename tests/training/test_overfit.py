"""A few images learned by heart: always the same ones, and no model left behind."""

import csv
import json
from pathlib import Path

import pytest
from conftest import MakeConfig
from watched import own_scratch, small

from seg.core.errors import ConfigError
from seg.stages.train import load_data, run
from seg.training.overfit import FewImages, verdict

OVERFIT = ["trainer=overfit", "trainer.validate_every=1"]


def test_the_same_images_in_each_epoch_and_in_validation(tmp_path: Path, prepared: Path, make_config: MakeConfig) -> None:
    overrides = ["trainer.batch_size=2", "augment=light", "trainer.overfit.batches=2"]
    data = load_data(small(make_config, prepared, tmp_path, *OVERFIT, *overrides))
    assert isinstance(data, FewImages)
    loader = data.train_dataloader()
    epochs = []
    for epoch in range(2):
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
        epochs.append([{name: batch.images[n].numpy().tobytes() for n, name in enumerate(batch.image_ids)} for batch in loader])
    assert [len(batches) for batches in epochs] == [2, 2]
    drawn = [{k: v for batch in batches for k, v in batch.items()} for batches in epochs]
    assert drawn[0] == drawn[1], "as they are stored, whatever augment says"
    assert len(drawn[0]) == 4
    assert {name for batch in data.val_dataloader() for name in batch.image_ids} == set(drawn[0])
    assert data.num_training_images() == 4


def test_a_split_of_fewer_images_is_taken_whole(tmp_path: Path, prepared: Path, make_config: MakeConfig) -> None:
    data = load_data(small(make_config, prepared, tmp_path, *OVERFIT, "trainer.overfit.batches=9"))
    assert data.num_training_images() == len(data.split_dataset("train"))


@pytest.mark.parametrize(
    ("losses", "figure", "said"),
    [
        (
            [2.0, 1.0, 0.1],
            0.95,
            "8 images, 3 epochs: the loss fell to 5.0% of its start (2 -> 0.1), and miou on these images is 0.950; this",
        ),
        ([2.0, 1.0, 0.1], 0.85, "is 0.850; warning: less than 0.9: the loss falls, the figure does not follow. Likely causes: batch norms"),
        (
            [2.0, 1.5, 1.0],
            0.3,
            "the loss fell to 50.0% of its start (2 -> 1), and miou on these images is 0.300; warning: less than 0.9: it learns",
        ),
        (
            [2.0, 1.9, 2.1],
            0.1,
            "the loss did not fall (2 -> 2.1), and miou on these images is 0.100; warning: less than 0.9: nothing was learned",
        ),
        ([2.0, 1.9, float("nan")], 0.1, "nothing was learned"),
    ],
)
def test_verdicts(losses: list[float], figure: float, said: str) -> None:
    rows = [{"train_loss": loss, "val_miou": 0.0} for loss in losses[:-1]] + [{"train_loss": losses[-1], "val_miou": figure}]
    found = verdict(rows, "miou", 0.9, 8)
    assert said in found["said"]
    assert found["learned"] == (figure >= 0.9)


def test_it_leaves_a_verdict_and_no_model(
    tmp_path: Path, prepared: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scratch, out = own_scratch(tmp_path, monkeypatch), tmp_path / "out"
    run(small(make_config, prepared, tmp_path, *OVERFIT, "trainer.overfit.batches=1", "trainer.max_epochs=3"), out)
    assert sorted(p.name for p in out.iterdir()) == ["history.csv", "overfit.json"]
    assert not list(scratch.rglob("*.ckpt"))
    found = json.loads((out / "overfit.json").read_text())
    with open(out / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert (found["images"], found["epochs"], found["last_loss"]) == (4, 3, float(rows[-1]["train_loss"]))
    assert capsys.readouterr().out.splitlines()[-1] == found["said"]


def test_the_pipeline_refuses_it(tmp_path: Path, prepared: Path, make_config: MakeConfig) -> None:
    cfg = small(make_config, prepared, tmp_path, *OVERFIT)
    with pytest.raises(ConfigError, match=r"^trainer=overfit: learns a few images by heart and leaves no model"):
        run(cfg, Path(cfg.paths.train))
