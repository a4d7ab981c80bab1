"""A training whose loss is not finite ends with one line, and leaves what is needed to see why."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from conftest import MakeConfig
from watched import own_scratch, small

from seg.core.errors import InputError
from seg.data.store import read_entries, read_sample
from seg.loading.batch import Batch, collate
from seg.models.build import build_model
from seg.models.checkpoint import load
from seg.models.semantic import SemanticModel
from seg.stages.train import run
from seg.training.watch.guard import Guard


@pytest.fixture(params=[True, False], ids=["at-once", "later"])
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether each step is looked at before it is taken, as on one CPU, or several together afterwards, as on a GPU."""
    if not request.param:
        monkeypatch.setattr(Guard, "on_train_start", lambda self, *_: setattr(self, "at_once", False))
    return bool(request.param)


def test_the_batch_and_the_weights_repeat_the_failure(
    at_once: bool, tmp_path: Path, prepared: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = own_scratch(tmp_path, monkeypatch)
    cfg = small(make_config, prepared, tmp_path, "optimizer.lr=1e38", "scheduler=constant", "trainer.gradient_clip=null")
    with pytest.raises(InputError, match=r"^epoch 1, step 2/2: the loss is (nan|inf) \(loss (nan|inf); lr 1e\+38\); try a lower") as caught:
        run(cfg, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    (folder,) = scratch.glob("train/*/bad_batch")
    assert f"which {folder} holds" in str(caught.value)
    facts = json.loads((folder / "batch.json").read_text())
    assert (facts["epoch"], facts["step"], facts["weights_after_steps"]) == (1, 2, 1 if at_once else 0)
    assert facts["losses"]["loss"] in ("nan", "inf")
    assert facts["lr"] == {"lr": 1e38}
    checkpoint = load(folder / "weights.ckpt", cfg.targets.allow)
    assert all(value.isfinite().all() for value in checkpoint.state_dict.values())
    stored = {entry.image_id: read_sample(prepared / "train", entry, 3, ()) for entry in read_entries(prepared / "train")}
    samples = [stored[row["image"]] for row in facts["images"]]
    assert len(samples) == 4
    for n, sample in enumerate(samples):
        assert np.array_equal(cv2.imread(str(folder / f"{n}_image.png"))[..., ::-1], sample.image)
        assert np.array_equal(cv2.imread(str(folder / f"{n}_labels.png"), cv2.IMREAD_UNCHANGED), sample.semantic)
        assert sum(facts["images"][n]["pixels"].values()) == sample.semantic.size
    model = build_model(cfg, checkpoint.data, pretrained=False)
    model.load_state_dict(checkpoint.state_dict)
    loss = sum(model.eval().losses(collate(samples)).values())
    assert bool(torch.isfinite(torch.as_tensor(loss))) != at_once, "before the step that failed, or before those that were looked at"


def test_it_names_the_step_of_a_single_bad_loss(
    at_once: bool, tmp_path: Path, prepared: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the second epoch's first step; the first epoch's checkpoint stays, and the line names it."""
    scratch, seen, losses = own_scratch(tmp_path, monkeypatch), [], SemanticModel.losses

    def spoilt(self: SemanticModel, batch: Batch) -> dict[str, Any]:
        seen.append(batch.image_ids)
        terms = losses(self, batch)
        return {name: value * (float("nan") if len(seen) == 3 else 1) for name, value in terms.items()}

    monkeypatch.setattr(SemanticModel, "losses", spoilt)
    with pytest.raises(InputError, match=r"^epoch 2, step 1/2: the loss is nan .*last\.ckpt is the last checkpoint before it$"):
        run(small(make_config, prepared, tmp_path), tmp_path / "out")
    (folder,) = scratch.glob("train/*/bad_batch")
    facts = json.loads((folder / "batch.json").read_text())
    assert [row["image"] for row in facts["images"]] == seen[2]
    assert len(seen) == (3 if at_once else 4)
    last = torch.load(folder.parent / "last.ckpt", weights_only=True)
    assert all(value.isfinite().all() for value in last["state_dict"].values())
    weights = torch.load(folder / "weights.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, last["state_dict"][f"model.{name}"]) for name, value in weights.items())


def test_gradients_that_are_not_finite_are_found_at_the_end_of_the_epoch(
    tmp_path: Path, prepared: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_scratch(tmp_path, monkeypatch)
    count, losses = [0], SemanticModel.losses

    def steep(self: SemanticModel, batch: Batch) -> dict[str, Any]:
        count[0] += 1
        terms = losses(self, batch)
        if count[0] == 2:  # the slope of a square root is infinite at 0, and 0 times that is no number
            terms["root"] = (next(self.parameters()).sum() * 0).abs().sqrt() * 0
        return terms

    monkeypatch.setattr(SemanticModel, "losses", steep)
    with pytest.raises(InputError, match=r"^epoch 1, step 2/2: the loss was finite, but its gradient was not"):
        run(small(make_config, prepared, tmp_path, "trainer.gradient_clip=null"), tmp_path / "out")


def test_watching_changes_no_weight(tmp_path: Path, prepared: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    own_scratch(tmp_path, monkeypatch)
    pytest.importorskip("tensorboard", reason="its logger is part of what watches")
    plain = ["runtime.divergence=null"]
    watched = ["logger=tensorboard", "logger.every=1", "logger.pictures.every=1", "runtime.divergence.every=1"]
    for name, overrides in (("plain", plain), ("watched", watched)):
        run(small(make_config, prepared, tmp_path, *overrides), tmp_path / name)
    for file in ("best.ckpt", "last.ckpt"):
        states = [torch.load(tmp_path / name / file, weights_only=True)["state_dict"] for name in ("plain", "watched")]
        assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert (tmp_path / "plain/history.csv").read_bytes() == (tmp_path / "watched/history.csv").read_bytes()
