"""What Lightning is asked for where there are several devices."""

from collections.abc import Callable

import pytest
import torch
from conftest import MakeConfig
from lightning.pytorch.strategies import FSDPStrategy

from seg.cli import several_processes
from seg.core.errors import ConfigError
from seg.training.ranks.ranks import Launcher
from seg.training.step.limits import described_lr, lr_factor
from seg.training.trainer import Replicated, Sharded, build_trainer, make_strategy, syncs_batchnorm

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("overrides", "world_size", "factor", "line"),
    [
        ([], 4, 1.0, None),
        (["scale_lr=linear", "reference_batch_size=8"], 1, 1.0, None),
        (["scale_lr=linear", "reference_batch_size=8"], 4, 4.0, "learning rate times 4: 0.25 becomes 1 (32 images a step, against 8)"),
        (["scale_lr=linear", "reference_batch_size=8", "batch_size=2"], 2, 0.5, "times 0.5: 0.25 becomes 0.125 (4 images a step"),
        (["scale_lr=sqrt", "reference_batch_size=8"], 4, 2.0, "0.25 becomes 0.5 (32 images a step, against 8, square root)"),
    ],
)
def test_the_rate_follows_the_images_of_a_step(
    make_config: MakeConfig, overrides: list[str], world_size: int, factor: float, line: str | None
) -> None:
    trainer = make_config(*(f"trainer.{o}" for o in overrides)).trainer
    assert lr_factor(trainer, world_size) == factor
    said = described_lr(trainer, world_size, 0.25)
    assert said is None if line is None else line in str(said)


def test_a_scaled_rate_needs_a_reference(make_config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.scale_lr=linear: set trainer\.reference_batch_size"):
        lr_factor(make_config("trainer.scale_lr=linear").trainer, 2)


@pytest.mark.parametrize(("setting", "on_gpu", "on_cpu"), [("auto", True, False), ("false", False, False)])
def test_batch_norms_are_synchronised_on_gpus(make_config: MakeConfig, setting: str, on_gpu: bool, on_cpu: bool) -> None:
    cfg = make_config(f"trainer.sync_batchnorm={setting}")
    assert [syncs_batchnorm(cfg, device) for device in (GPU, CPU)] == [on_gpu, on_cpu]


def test_synchronised_batch_norms_are_refused_on_a_cpu(make_config: MakeConfig) -> None:
    cfg = make_config("trainer.sync_batchnorm=true")
    assert syncs_batchnorm(cfg, GPU)
    with pytest.raises(ConfigError, match=r"trainer\.sync_batchnorm=true: torch cannot do this on a CPU"):
        syncs_batchnorm(cfg, CPU)


def test_strategies_end_together_and_wrap_nothing_on_one_device() -> None:
    assert make_strategy("auto", 1) == "auto"
    assert [type(make_strategy(*given)) for given in (("auto", 2), ("ddp", 1), ("fsdp", 2))] == [Replicated, Replicated, Sharded]


def test_a_sharded_step_without_memory_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(message: str) -> Callable[..., None]:
        def step(*_: object, **__: object) -> None:
            raise torch.OutOfMemoryError(message) if "memory" in message else RuntimeError(message)

        return step

    monkeypatch.setattr(FSDPStrategy, "optimizer_step", fails("CUDA out of memory. Tried to allocate 2.00 GiB."))
    with pytest.raises(
        ConfigError, match=r"out of memory \(CUDA out of memory\) with trainer\.strategy=fsdp.* smaller trainer\.batch_size"
    ):
        Sharded().optimizer_step()
    monkeypatch.setattr(FSDPStrategy, "optimizer_step", fails("sizes differ"))
    with pytest.raises(RuntimeError, match="sizes differ"):
        Sharded().optimizer_step()


@pytest.mark.parametrize("options", [("trainer=ddp",), ("trainer=fsdp",), ("trainer.devices=2",)], ids=str)
def test_our_launcher_starts_the_ranks(make_config: MakeConfig, tmp_path, options: tuple[str, ...]) -> None:
    trainer = build_trainer(make_config(*options, "trainer.accelerator=cpu"), [], tmp_path, CPU, "32-true")
    assert trainer.world_size == 2
    assert isinstance(trainer.strategy.launcher, Launcher)


@pytest.mark.parametrize(("tasks", "options", "world"), [(2, ("trainer=ddp", "trainer.devices=2"), 2), (8, (), 1)], ids=str)
def test_an_allocation_whose_tasks_nobody_started_changes_nothing(
    make_config: MakeConfig, tmp_path, monkeypatch: pytest.MonkeyPatch, tasks: int, options: tuple[str, ...], world: int
) -> None:
    for name, value in {"JOB_ID": 1, "NTASKS": tasks, "NTASKS_PER_NODE": tasks, "PROCID": 0, "LOCALID": 0, "NODEID": 0}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    trainer = build_trainer(make_config(*options, "trainer.accelerator=cpu"), [], tmp_path, CPU, "32-true")
    assert trainer.world_size == world
    assert isinstance(trainer.strategy.launcher, Launcher) == (world > 1)


@pytest.mark.parametrize(
    "launcher", [{"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2"}, {"SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"}], ids=["torchrun", "srun"]
)
def test_one_device_in_each_of_two_processes_is_a_mistake(
    make_config: MakeConfig, tmp_path, monkeypatch: pytest.MonkeyPatch, launcher: dict[str, str]
) -> None:
    """Each would train alone, and both would write."""
    slurm = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "train"}
    for name, value in (slurm | launcher if "SLURM_NTASKS" in launcher else launcher).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"trainer\.devices=1.* need 1 processes, but 2 were started; set trainer=ddp"):
        build_trainer(make_config("trainer.accelerator=cpu"), [], tmp_path, CPU, "32-true")


@pytest.mark.parametrize(
    ("options", "several"),
    [
        ([], False),
        (["trainer.devices=[0]"], False),
        (["trainer.devices=[0,1]"], True),
        (["trainer.devices=auto"], True),
        (["trainer.num_nodes=2"], True),
        (["trainer=ddp", "trainer.devices=1"], True),
        (["trainer=fsdp"], True),
    ],
    ids=str,
)
def test_what_a_sweep_refuses(make_config: MakeConfig, options: list[str], several: bool) -> None:
    assert several_processes(make_config(*options).trainer) == several


def test_a_sweep_under_torchrun_is_refused(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert several_processes(make_config().trainer)
