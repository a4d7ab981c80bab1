"""Lightning's trainer, as the configuration's section of this name asks for it."""

import logging
import os
import warnings
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from seg.errors import ConfigError
from seg.models.finetune import thaws
from seg.schema import Config
from seg.training.keeping import WholeCheckpointIO

RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
"""Variables by which launchers tell a process its place; all are 0 or unset in the first one."""


def in_first_process() -> bool:
    """Whether this is rank 0, known before Lightning is asked."""
    return not any(int(os.environ.get(variable, 0)) for variable in RANKS)


def build_trainer(cfg: Config, callbacks: list[Callback], folder: Path, device: torch.device, precision: str) -> pl.Trainer:
    """Lightning's trainer; ConfigError where it cannot have the devices or the strategy."""
    try:
        return pl.Trainer(
            accelerator=cfg.trainer.accelerator,
            devices=cfg.trainer.devices,
            num_nodes=cfg.trainer.num_nodes,
            strategy=strategy_of(cfg),
            precision=precision,  # type: ignore[arg-type]
            max_epochs=cfg.trainer.max_epochs,
            check_val_every_n_epoch=cfg.trainer.validate_every,
            gradient_clip_val=cfg.trainer.gradient_clip,
            deterministic=device.type == "cpu",
            callbacks=callbacks,
            plugins=[WholeCheckpointIO()],
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"trainer (accelerator={cfg.trainer.accelerator}, devices={cfg.trainer.devices}, strategy={cfg.trainer.strategy}): {reason}"
        ) from None


def strategy_of(cfg: Config) -> str:
    """Lightning's name of the strategy.

    DDP waits for the gradient of every parameter that it was built with. It is built before the first epoch, while all
    parameters still have one, and asked to look for those that are frozen in a step.
    """
    name = cfg.trainer.strategy
    several = cfg.trainer.devices != 1 or cfg.trainer.num_nodes > 1
    if not thaws(cfg.finetune) or name.endswith("find_unused_parameters_true") or (name == "auto" and not several):
        return name
    if name in ("auto", "ddp", "ddp_spawn", "ddp_fork", "ddp_notebook"):
        return f"{'ddp' if name == 'auto' else name}_find_unused_parameters_true"
    raise ConfigError(
        f"finetune={cfg.finetune.name}: parts of the network learn from a later epoch on, which trainer.strategy={name} cannot; set "
        "trainer.strategy=ddp, or finetune.freeze_epochs=0 and finetune.unfreeze_every=0"
    )


def quiet() -> None:
    """Silence what a user can do nothing about."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(lightning|torch|segmentation_models_pytorch|timm)\b.*")
    warnings.filterwarnings("ignore", message=r".*(does not have many workers|LeafSpec|lr_scheduler\.step).*")
