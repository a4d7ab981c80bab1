"""What `train` decides before Lightning starts; and parts of a network that learn later, on several ranks."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import MakeConfig, MakeInfo
from gloo import in_ranks
from rank_cases import thawed

from seg.configure.config import Config
from seg.core.errors import ConfigError
from seg.stages.train import run
from seg.training.module import build_module, make_limits, make_model
from seg.training.trainer import check_thaws

LATER = {"freeze_epochs": 1}


@pytest.fixture(scope="module")
def base(make_config: MakeConfig) -> Config:
    return make_config()


def changed(base: Config, trainer: dict, finetune: dict) -> Config:
    return base.model_copy(
        update={"trainer": base.trainer.model_copy(update=trainer), "finetune": base.finetune.model_copy(update=finetune)}
    )


def test_other_strategies_do_not_thaw(base: Config) -> None:
    with pytest.raises(ConfigError, match=r"finetune=none: .*which trainer\.strategy=fsdp cannot; set trainer\.strategy=ddp"):
        check_thaws(changed(base, {"strategy": "fsdp"}, LATER))
    for trainer, finetune in (({"strategy": "fsdp"}, {}), ({"strategy": "ddp"}, LATER), ({"devices": 2}, LATER)):
        check_thaws(changed(base, trainer, finetune))


def test_what_cannot_be_frozen_is_said_before_data_are_read(tmp_path: Path, make_config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match="finetune=freeze: would freeze an encoder of random weights"):
        run(make_config("finetune=freeze", "paths.prepare=/nowhere"), tmp_path)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_what_a_file_gave_is_said_once(
    rank: str,
    tmp_path: Path,
    make_config: MakeConfig,
    make_info: MakeInfo,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LOCAL_RANK", rank)
    torch.save({"weight": torch.zeros(3, 3, 1, 1)}, tmp_path / "layer.pth")
    config = make_config(f"model.weights={tmp_path / 'layer.pth'}", network={"_target_": "torch.nn.Conv2d", "kernel_size": 1})
    data: Any = SimpleNamespace(info=make_info())
    module = build_module(config, data, make_model(config, data), make_limits(config, data))
    assert not module.model.network.weight.any()
    assert ("weights: 1 of the network's 2 tensors" in capsys.readouterr().out) == (rank == "0")


@pytest.mark.slow
def test_ranks_stay_alike_while_stages_thaw() -> None:
    """Each rank sees other images: without averaged gradients their weights would part."""
    first, second = in_ranks(thawed)
    assert first == second
    assert len(first) == 3
    for stage, epoch in (("layer2", 3), ("layer3", 2), ("layer4", 1)):
        sums = [of_epoch[stage] for of_epoch in first]
        assert [a != b for a, b in pairwise(sums)] == [epoch <= number for number in (1, 2)]
