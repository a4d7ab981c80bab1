"""Lightning's trainer, as the configuration's section of this name asks for it; and how several devices train one model: DDP (Li et al.
2020) and FSDP (Zhao et al. 2023), as Lightning has them.

Validation is each rank's own business until its end: ranks have unequal numbers of images, and what they see of the model is rank 0's."""

import logging
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment
from lightning.pytorch.plugins.precision import FSDPPrecision
from lightning.pytorch.strategies import DDPStrategy, Strategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.distributed.fsdp import FullOptimStateDictConfig, FullStateDictConfig, FullyShardedDataParallel, OptimStateKeyType, StateDictType

from seg.core.environment import in_slurm_step, processes_started
from seg.core.errors import ConfigError
from seg.models.finetune import thaws
from seg.models.hardware import is_out_of_memory, summary
from seg.training.private_lightning import WithLauncher, WrappedFSDP
from seg.training.ranks.ranks import Launcher
from seg.training.resume.checkpoints import WholeCheckpointIO
from seg.training.settings import TrainingSettings
from seg.training.step.exchange import share, share_buffers


class _Ranks(WithLauncher):
    """What DDP and FSDP have in common: the ranks end together, and each validates by itself."""

    launcher_class = Launcher

    def validation_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.precision_plugin.val_step_context():
            return self.lightning_module.validation_step(*args, **kwargs)


class Replicated(_Ranks, DDPStrategy):
    """A copy of the model on each device. torch's DistributedDataParallel does not wrap it: `Step` averages the gradients."""

    def configure_ddp(self) -> None:
        """Begin with the weights and buffers of rank 0 everywhere."""
        assert self.model is not None
        share(list(self.model.parameters()))
        share_buffers(self.model)


class ShardedPrecision(FSDPPrecision):
    """Autocast alone, as under DDP: parameters, buffers and sums of gradients stay float32."""

    def __init__(self, precision: Any, device: str) -> None:
        super().__init__(precision)
        self.device = device

    def forward_context(self) -> AbstractContextManager:
        if "mixed" in self.precision:
            return torch.autocast(self.device, dtype=torch.bfloat16 if self.precision == "bf16-mixed" else torch.float16)
        return super().forward_context()


class Sharded(_Ranks, WrappedFSDP):
    """Parameters, gradients and the optimizer's state are spread over the devices; a step gathers the parameters as a whole.

    Not in layers: networks reach for the parameters of their parts, and are predicted with in inference mode, in which FSDP cannot gather.
    Checkpoints hold the whole model, and load without unpickling."""

    def __init__(self) -> None:
        super().__init__(state_dict_type="full")
        self._whole: AbstractContextManager | None = None

    @property
    def mixed_precision_config(self) -> None:
        return None

    def wrap(self, model: nn.Module) -> nn.Module:
        return FullyShardedDataParallel(model, sharding_strategy=self.sharding_strategy, device_id=self.root_device, **self.kwargs)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> Any:
        """A step with all of its passes. ConfigError where memory runs out: it cannot be repeated, as others wait in the middle of it."""
        try:
            return super().optimizer_step(*args, **kwargs)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            problem = summary(error)
        raise ConfigError(
            f"out of memory ({problem}) with trainer.strategy=fsdp, whose steps cannot be repeated with fewer images; set a smaller "
            "trainer.batch_size, trainer.activation_checkpointing=true, more trainer.devices, or smaller crops (augment.crop)"
        )

    def on_validation_start(self) -> None:
        assert self.lightning_module is not None
        assert self.model is not None
        share_buffers(self.lightning_module)
        self._whole = FullyShardedDataParallel.summon_full_params(self.model, writeback=False)
        self._whole.__enter__()

    def on_validation_end(self) -> None:
        if self._whole:
            self._whole.__exit__(None, None, None)
            self._whole = None

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Lightning's own unpickles."""
        model = self.model
        assert model is not None
        checkpoint: dict[str, Any] = torch.load(Path(checkpoint_path), map_location="cpu", weights_only=True, mmap=True)
        whole = FullStateDictConfig(rank0_only=False), FullOptimStateDictConfig(rank0_only=False)
        with FullyShardedDataParallel.state_dict_type(model, StateDictType.FULL_STATE_DICT, *whole):
            model.load_state_dict(checkpoint.pop("state_dict"))
            for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
                named: Mapping[str, Any] = FullyShardedDataParallel.rekey_optim_state_dict(state, OptimStateKeyType.PARAM_NAME, model)
                optimizer.load_state_dict(FullyShardedDataParallel.optim_state_dict_to_load(model, optimizer, dict(named)))
        return checkpoint


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
        problem = f"finetune={cfg.finetune.name}: parts of the network learn from a later epoch on, which trainer.strategy=fsdp cannot; set"
        raise ConfigError(f"{problem} trainer.strategy=ddp, or finetune.freeze_epochs=0 and finetune.unfreeze_every=0")


def quiet() -> None:
    """Silence what a user can do nothing about."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(lightning|torch|segmentation_models_pytorch|timm)\b.*")
    warnings.filterwarnings("ignore", message=r".*(does not have many workers|LeafSpec|lr_scheduler\.step).*")
    warnings.filterwarnings("default", message=r"You have overridden .* in both")  # a hook of ours that is never called
