"""How several devices train one model: DDP (Li et al. 2020) and FSDP (Zhao et al. 2023), as Lightning has them.

Validation is each rank's own business until its end: ranks have unequal numbers of images, and what they see of the model is rank 0's.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.precision import FSDPPrecision
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.distributed.fsdp import FullOptimStateDictConfig, FullStateDictConfig, FullyShardedDataParallel, OptimStateKeyType, StateDictType

from seg.core.errors import ConfigError
from seg.models.hardware import is_out_of_memory, summary
from seg.training.private_lightning import WithLauncher, WrappedFSDP
from seg.training.ranks.ranks import Launcher
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
    Checkpoints hold the whole model, and load without unpickling.
    """

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


def clip_by_norm(model: nn.Module | None, parameters: list[nn.Parameter], largest: float) -> None:
    """Scale the gradients so that their norm is at most `largest`. model: as the strategy holds it; FSDP's norm is over all shards."""
    if isinstance(model, FullyShardedDataParallel):
        model.clip_grad_norm_(largest)
    else:
        nn.utils.clip_grad_norm_(parameters, largest)
