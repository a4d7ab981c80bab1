"""What a finished training asks its model for, to choose by it."""

import numpy as np
import pytest
import torch
from conftest import MakeConfig, MakeInfo

from seg.models.build import build_model
from seg.models.semantic import SemanticModel
from seg.training.choosing.choose import Chosen, _answer, chooser
from seg.training.step.limits import Limits

CONVOLUTION = {"_target_": "torch.nn.Conv2d", "kernel_size": 3, "padding": 1}


@pytest.mark.parametrize("window", [None, 64, 16])
def test_logits_are_of_the_part_that_is_seen_at_once(make_config: MakeConfig, make_info: MakeInfo, window: int | None) -> None:
    model = build_model(make_config(f"model.window={window or 'null'}", "model.stride=8", network=CONVOLUTION), make_info()).eval()
    assert isinstance(model, SemanticModel)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 40, 48), np.uint8))
    with torch.inference_mode():
        predictions, logits, (top, left) = _answer(model, images, Limits(2, lambda *_: 2), torch.device("cpu"))
        seen = images[..., 12:28, 16:32] if window == 16 else images
        assert logits is not None
        assert torch.allclose(logits, model.full_logits(seen), atol=1e-5)
    assert (top, left) == ((12, 16) if window == 16 else (0, 0))
    assert predictions[0].semantic is not None
    assert predictions[0].semantic.shape == (40, 48)


def test_of_a_network_in_parts_nothing_is_chosen(make_config: MakeConfig, capsys: pytest.CaptureFixture[str]) -> None:
    none = torch.device("cpu")
    choose = chooser(make_config(), None, None, Limits(1, lambda *_: 1), none, "32-true")  # type: ignore[arg-type]
    assert choose({}) == Chosen()
    assert "trainer.strategy=fsdp" in capsys.readouterr().out
