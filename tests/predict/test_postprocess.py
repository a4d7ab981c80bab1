"""What training chose is done by every way to a prediction alike: Python, an exported file, an ensemble, and the evaluation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from plans import settled
from scipy import ndimage
from untrained import CONVOLUTION, ROOT, untrained

import seg
from seg.models.checkpoint import load, save
from seg.models.postprocess import Postprocess, calibrated
from seg.predict.description import Description
from seg.stages import export
from seg.stages.export import Arguments
from seg.tiles.checkpoint import CheckpointNetwork

ALLOW = settled()["targets"]["allow"]
POST = Postprocess(temperature=2.5, least_area=12, largest=(2,))


@pytest.fixture(scope="module")
def semantic(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """plain, and post: the same weights with a postprocessing."""
    folder = tmp_path_factory.mktemp("semantic")
    checkpoint = untrained(folder / "plain.ckpt", network=CONVOLUTION)
    save(folder / "post.ckpt", replace(checkpoint, postprocess=POST))
    return {name: folder / f"{name}.ckpt" for name in ("plain", "post")}


def image(seed: int = 0) -> np.ndarray:
    """Blobs of many sizes."""
    noise = np.random.default_rng(seed).normal(size=(60, 70, 3))
    blurred = ndimage.gaussian_filter(noise, (2, 2, 0))
    return (255 * (blurred - blurred.min()) / np.ptp(blurred)).astype(np.uint8)


def test_python_softens_probabilities_and_changes_objects(semantic: dict[str, Path]) -> None:
    given = image()
    plain, post = (seg.load(semantic[name]).predict(given) for name in ("plain", "post"))
    assert plain.semantic is not None
    assert post.semantic is not None
    assert post.confidence is not None
    wanted = POST.applied(plain, True)
    assert np.array_equal(post.semantic, wanted.semantic)
    assert (post.semantic != plain.semantic).any()
    logits = CheckpointNetwork(load(semantic["plain"], ALLOW)).logits(torch.from_numpy(given).permute(2, 0, 1)[None])[0]
    confidence = (logits / 2.5).softmax(dim=0).max(dim=0).values.numpy()
    same = post.semantic == plain.semantic
    assert post.confidence[same] / 65535 == pytest.approx(confidence[same], abs=2e-5)


def test_several_models_change_objects_where_all_would(semantic: dict[str, Path]) -> None:
    given = image(1)
    both = seg.load(semantic["post"], semantic["post"]).predict(given)
    assert np.array_equal(both.semantic, seg.load(semantic["post"]).predict(given).semantic)
    mixed, plain = seg.load(semantic["post"], semantic["plain"]).predict(given), seg.load(semantic["plain"]).predict(given)
    assert np.array_equal(mixed.semantic, plain.semantic), "one of the two would leave them"


@pytest.mark.slow
def test_an_exported_file_does_the_same(semantic: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "post.onnx"
    export.run(ROOT, Arguments(semantic["post"], ["format=onnx", f"out={out}", "paths.prepare=none"]))
    given = image(2)
    own, file = seg.load(semantic["post"], precision="32-true").predict(given), seg.load(out).predict(given)
    assert np.array_equal(own.semantic, file.semantic)
    assert own.confidence is not None
    assert file.confidence is not None
    assert np.abs(own.confidence.astype(int) - file.confidence).max() <= 3


def test_a_description_holds_it(semantic: dict[str, Path]) -> None:
    description = export._description(load(semantic["post"], ALLOW), "scores", None)
    text = replace(description, minimum=(8, 8)).to_text()
    assert Description.of_text(text, Path("a.onnx")).facts.postprocess == POST
    del text["postprocess"]
    assert Description.of_text(text, Path("a.onnx")).facts.postprocess == Postprocess(), "files of earlier versions have none"


def test_scores_are_softened_and_the_threshold_is_the_chosen_one(tmp_path: Path) -> None:
    plain = untrained(tmp_path / "plain.ckpt", "task=instance", "model=distance", "loss=distance")
    save(tmp_path / "post.ckpt", replace(plain, postprocess=Postprocess(3.0, 0.35)))
    given = image(3)
    one, two = (seg.load(tmp_path / f"{name}.ckpt").predict(given) for name in ("plain", "post"))
    assert len(one.scores)
    assert two.scores == pytest.approx(calibrated(one, 3.0).scores)
    facts = seg.load(tmp_path / "post.ckpt").network.facts
    assert (facts.threshold(None), facts.threshold(0.6)) == (0.35, 0.6)
    assert seg.load(tmp_path / "plain.ckpt").network.facts.threshold(None) == 0.5
