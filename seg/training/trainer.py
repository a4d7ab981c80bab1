"""Lightning's trainer, as the configuration's section of this name asks for it."""

import logging
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment
from lightning.pytorch.strategies import Strategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from seg.core.environment import in_slurm_step, processes_started
from seg.core.errors import ConfigError
from seg.models.finetune import thaws
from seg.training.ranks.strategies import Replicated, Sharded, ShardedPrecision
from seg.training.resume.checkpoints import WholeCheckpointIO
from seg.training.settings import TrainingSettings


def build_trainer(cfg: TrainingSettings, callbacks: list[Callback], folder: Path, device: torch.device, precision: str) -> pl.Trainer:
    """Lightning's trainer; ConfigError where it cannot have the devices or the strategy."""
    check_thaws(cfg)
    strategy = make_strategy(cfg.trainer.strategy, num_devices(cfg.trainer.devices, device) * cfg.trainer.num_nodes)
    sharded = isinstance(strategy, Sharded)
    plugins: list[Any] = [WholeCheckpointIO(folder.parents[1])]
    if sharded:
        plugins.append(ShardedPrecision(precision, device.type))
    try:
        if SLURMEnvironment.detect() and not torch.distributed.is_torchelastic_launched():
            # a requeued job goes on from last.ckpt, as any other; without srun there is an allocation, and nobody started its tasks
            plugins.append(SLURMEnvironment(auto_requeue=False) if in_slurm_step() else LightningEnvironment())
        trainer = pl.Trainer(
            accelerator=cfg.trainer.accelerator,
            devices=cfg.trainer.devices,
            num_nodes=cfg.trainer.num_nodes,
            strategy=strategy,
            precision=None if sharded else precision,  # type: ignore[arg-type]
            sync_batchnorm=syncs_batchnorm(cfg, device),
            max_epochs=cfg.trainer.max_epochs,
            check_val_every_n_epoch=cfg.trainer.validate_every,
            deterministic=device.type == "cpu",
            callbacks=callbacks,
            plugins=plugins,
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"trainer (accelerator={cfg.trainer.accelerator}, devices={cfg.trainer.devices}, strategy={cfg.trainer.strategy}): {reason}"
        ) from None
    if processes_started() not in (1, trainer.world_size):
        raise ConfigError(
            f"trainer.devices={cfg.trainer.devices}, trainer.num_nodes={cfg.trainer.num_nodes}: need {trainer.world_size} processes, but "
            f"{processes_started()} were started; set trainer=ddp, trainer.devices=<processes on a node> and trainer.num_nodes=<nodes>"
        )
    return trainer


def num_devices(devices: int | list[int] | str, device: torch.device) -> int:
    """Devices of this machine that the setting trainer.devices means."""
    if devices == "auto":
        return torch.cuda.device_count() if device.type == "cuda" else 1
    return len(devices) if isinstance(devices, list) else int(devices)


def make_strategy(name: str, world_size: int) -> str | Strategy:
    """Lightning's strategy of this name, as it is here."""
    if name == "fsdp":
        return Sharded()
    if name == "auto" and world_size == 1:
        return "auto"
    return Replicated()


def syncs_batchnorm(cfg: TrainingSettings, device: torch.device) -> bool:
    """Whether batch norms take their statistics from the batches of all devices; torch has this for GPUs alone."""
    if cfg.trainer.sync_batchnorm is True and device.type == "cpu":
        raise ConfigError("trainer.sync_batchnorm=true: torch cannot do this on a CPU; set trainer.sync_batchnorm=auto or false")
    return device.type == "cuda" and cfg.trainer.sync_batchnorm is not False


def check_thaws(cfg: TrainingSettings) -> None:
    """Raise ConfigError where parts of the network learn from a later epoch on, and the strategy cannot have that."""
    if thaws(cfg.finetune) and cfg.trainer.strategy == "fsdp":
        raise ConfigError(
            f"finetune={cfg.finetune.name}: parts of the network learn from a later epoch on, which trainer.strategy=fsdp cannot; set "
            "trainer.strategy=ddp, or finetune.freeze_epochs=0 and finetune.unfreeze_every=0"
        )


def quiet() -> None:
    """Silence what a user can do nothing about."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(lightning|torch|segmentation_models_pytorch|timm)\b.*")
    warnings.filterwarnings("ignore", message=r".*(does not have many workers|LeafSpec|lr_scheduler\.step).*")
    warnings.filterwarnings("default", message=r"You have overridden .* in both")  # a hook of ours that is never called
