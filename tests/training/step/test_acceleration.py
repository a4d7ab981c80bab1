"""What a device or strategy cannot do is said before training; fused optimizers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MakeConfig

from seg.core.errors import ConfigError
from seg.stages.train import run
from seg.training.step.recomputation import check_acceleration, chosen_fused

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module")
def base(make_config: MakeConfig) -> Any:
    return make_config("trainer.accelerator=cpu")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"precision": "16-mixed"},
            r"trainer\.precision=16-mixed: needs a GPU; on a CPU set trainer\.precision=auto, 32-true or bf16-mixed",
        ),
        ({"compile": True, "activation_checkpointing": True}, "torch cannot compile blocks that run again; set one of them to false"),
        ({"average": "ema", "strategy": "fsdp"}, r"trainer\.average=ema: needs the whole network .* set trainer\.strategy=ddp"),
    ],
)
def test_what_cannot_be_is_said_before_data_are_read(base: Any, changed: dict, message: str, tmp_path: Path) -> None:
    cfg = base.model_copy(update={"trainer": base.trainer.model_copy(update=changed)})
    with pytest.raises(ConfigError, match=message):
        run(cfg.model_copy(update={"paths": cfg.paths.model_copy(update={"prepare": "/nowhere"})}), tmp_path)


def test_what_can_be_passes(base: Any) -> None:
    for changed in ({}, {"compile": True}, {"activation_checkpointing": True}, {"average": "swa", "strategy": "ddp"}):
        check_acceleration(base.trainer.model_copy(update=changed), CPU)
    check_acceleration(base.trainer.model_copy(update={"precision": "16-mixed"}), CUDA)


@pytest.mark.parametrize(
    ("name", "precision", "device", "fused"),
    [
        ("AdamW", "32-true", CPU, True),
        ("SGD", "32-true", CPU, None),
        ("SGD", "bf16-mixed", CUDA, True),
        ("AdamW", "bf16-mixed", CUDA, True),
        ("AdamW", "16-mixed", CUDA, None),
        ("Adagrad", "32-true", CUDA, None),
        ("AdamW", "32-true", torch.device("mps"), None),
    ],
)
def test_fused_is_chosen_by_device_and_precision(base: Any, name: str, precision: str, device: torch.device, fused: bool | None) -> None:
    given = base.optimizer.model_validate({"_target_": f"torch.optim.{name}", "name": "x", "lr": 0.1, "fused": "auto"})
    chosen = chosen_fused(given, precision, device)
    assert chosen.arguments == {"lr": 0.1, "fused": fused}
    assert (chosen.target, chosen.name) == (given.target, "x")


@pytest.mark.parametrize("value", [True, False, None])
def test_fused_stays_as_it_is_set(base: Any, value: bool | None) -> None:
    given = base.optimizer.model_validate({"_target_": "torch.optim.SGD", "name": "x", "lr": 0.1, "fused": value})
    assert chosen_fused(given, "16-mixed", CUDA) is given
