"""What `train` decides before Lightning starts; and parts of a network that learn later, on several ranks."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import MakeConfig, MakeInfo
from scripts import lines_of

from seg.configure.config import Config
from seg.core.errors import ConfigError
from seg.stages.train import run
from seg.training.build import build_module, make_limits, make_model
from seg.training.trainer import strategy_of

FINDS = "ddp_find_unused_parameters_true"
LATER = {"freeze_epochs": 1}


@pytest.fixture(scope="module")
def base(make_config: MakeConfig) -> Config:
    return make_config()


def changed(base: Config, trainer: dict, finetune: dict) -> Config:
    return base.model_copy(
        update={"trainer": base.trainer.model_copy(update=trainer), "finetune": base.finetune.model_copy(update=finetune)}
    )


@pytest.mark.parametrize(
    ("trainer", "finetune", "strategy"),
    [
        ({}, {}, "auto"),
        ({}, LATER, "auto"),
        ({"strategy": "ddp"}, {}, "ddp"),
        ({"strategy": "ddp"}, {"lr_factor": 0.5, "frozen_stages": 2, "frozen_norms": True}, "ddp"),
        ({"strategy": "ddp"}, LATER, FINDS),
        ({"strategy": "ddp"}, {"unfreeze_every": 1}, FINDS),
        ({"strategy": FINDS}, LATER, FINDS),
        ({"devices": 2}, LATER, FINDS),
        ({"devices": "auto"}, LATER, FINDS),
        ({"num_nodes": 2}, LATER, FINDS),
        ({"strategy": "fsdp"}, {}, "fsdp"),
    ],
    ids=str,
)
def test_ddp_looks_for_frozen_parameters_where_there_are_some_for_a_time(
    base: Config, trainer: dict, finetune: dict, strategy: str
) -> None:
    assert strategy_of(changed(base, trainer, finetune)) == strategy


def test_other_strategies_do_not_thaw(base: Config) -> None:
    with pytest.raises(ConfigError, match=r"finetune=none: .*which trainer\.strategy=fsdp cannot; set trainer\.strategy=ddp"):
        strategy_of(changed(base, {"strategy": "fsdp"}, LATER))


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


RANKS = """
import hashlib, sys
import lightning.pytorch as pl
import segmentation_models_pytorch as smp
import torch
from seg.models.finetune import make_plan
from seg.models.settings import Finetune

class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.network = smp.Unet("resnet18", encoder_weights=None, decoder_channels=(8, 8, 8, 8, 8), classes=2)
        thaw = Finetune(name="thaw", freeze_epochs=1, unfreeze_every=1, frozen_stages=3, frozen_norms=False, lr_factor=0.5)
        self.plan = make_plan(self.network, self.network, thaw, 3, 3)

    def configure_optimizers(self):
        return torch.optim.SGD([{"params": g.parameters} for g in self.plan.groups], lr=0.01, momentum=0.9)

    def on_train_epoch_start(self):
        self.plan.start_epoch(self.network, self.current_epoch)

    def training_step(self, batch, _):
        return self.network(batch).square().mean()

    def on_train_epoch_end(self):
        for stage in ("layer2", "layer3", "layer4"):
            parameters = self.network.encoder.get_submodule(stage).parameters()
            digest = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in parameters)).hexdigest()
            sys.stdout.write(f"sum {self.global_rank} {self.current_epoch} {stage} {digest}\\n")
        sys.stdout.flush()

options = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
trainer = pl.Trainer(accelerator="cpu", devices=2, strategy=sys.argv[1], max_epochs=3, **options)
images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
trainer.fit(Module(), torch.utils.data.DataLoader(images, batch_size=2))
"""


@pytest.mark.slow
def test_ranks_stay_alike_while_stages_thaw(tmp_path: Path, base: Config) -> None:
    """Each rank sees other images: without averaged gradients their weights would part."""
    lines = lines_of(tmp_path, RANKS, strategy_of(changed(base, {"strategy": "ddp"}, LATER)))
    sums = {tuple(line.split()[1:4]): line.split()[4] for line in lines if line.startswith("sum ")}
    assert len(sums) == 2 * 3 * 3
    for stage, thawed in (("layer2", 3), ("layer3", 2), ("layer4", 1)):
        first, second = ([sums[rank, str(epoch), stage] for epoch in range(3)] for rank in "01")
        assert first == second
        assert [a != b for a, b in pairwise(first)] == [thawed <= epoch for epoch in (1, 2)]
