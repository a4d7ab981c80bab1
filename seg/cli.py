"""`seg COMMAND [ARGUMENT ...]`, also `python -m seg`: finds the command, composes its configuration, runs it.

A user's mistake ends in one line on stderr and exit code 1 (2 for a command line that the command cannot take)."""

import io
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg.commands.parser import Parsed, parse, values_of
from seg.commands.table import COMMANDS, Command, help_of, overview
from seg.core.environment import conf_folder, in_first_process, prepare_command, prepare_environment, processes_started
from seg.core.errors import ConfigError, InputError, UsageError, did_you_mean
from seg.core.outputs import used_up

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from seg.training.settings import Trainer

UNPLANNED = ("plan", "prepare", "doctor")  # commands that may run before there is a plan


def main() -> None:
    """The console script."""
    prepare_environment()
    prepare_command()
    try:
        with used_up():
            start(sys.argv[1:])
        sys.stdout.flush()
    except InputError as error:
        fail(str(error), code=2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        fail("interrupted", code=130)
    except BrokenPipeError:  # as in `seg train --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def fail(message: str, code: int = 1) -> None:
    """End the program with one line."""
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def start(words: Sequence[str]) -> None:
    """Find the command and run it, or show its help."""
    name, *given = words or ["--help"]
    if name == "help" and given:
        name, given = given[0], ["--help"]
    if name in ("-h", "--help", "help"):
        print(overview())
        return
    if name == "--version":
        from importlib.metadata import version

        print(f"seg {version('seg')}")
        return
    if name not in COMMANDS:
        raise _no_command(name, given)
    command = COMMANDS[name]
    parsed = parse(command, given)
    if parsed.help:
        print(help_of(command))
        if not command.composed:
            return
        print()
        if not (Path.cwd() / "conf/config.yaml").is_file():
            print("Groups and keys of settings are those of a project: change into its folder to see them here.")
            return
        sys.stdout.flush()
    if command.composed:
        run_stage(command, parsed)
    else:
        run_plain(command, parsed, Path.cwd())


def _no_command(name: str, given: Sequence[str]) -> UsageError:
    """A first word that is no command: an option or an override before it, or a slip."""
    later = next((word for word in given if word in COMMANDS), None)
    owners = [command.name for command in COMMANDS.values() if any(name.partition("=")[0] in option.names for option in command.options)]
    if later and (name.startswith("-") or "=" in name):
        return UsageError(f"{name}: the command comes first, as in seg {later} {name}; see seg --help")
    if name.startswith("-"):
        hint = f"write seg {owners[0]} {name}" if owners else "the command comes first"
        return UsageError(f"{name}: is no option of seg itself; {hint}; see seg --help")
    if "=" in name:
        return UsageError(f"{name}: the command comes first, as in seg train {name}; see seg --help")
    return UsageError(f"no command '{name}': {did_you_mean(name, COMMANDS, 'commands')}")


def run_plain(command: Command, parsed: Parsed, project: Path) -> Any:
    """Run `seg.stages.<command>.run(project, arguments)`; what it gives."""
    values = values_of(command, parsed)  # a mistake is told before the stage's imports, which may take seconds
    stage = import_module(f"seg.stages.{command.name}")
    return stage.run(project, stage.Arguments(**values))


def run_stage(command: Command, parsed: Parsed) -> None:
    """Compose with Hydra and run `seg.stages.<command>.run(config, out)`; or show the groups and keys, or what else Hydra's options ask."""
    import hydra

    conf = conf_folder(Path.cwd())
    overrides = parsed.words
    root = parsed.options.get("config_name", "config")
    if not (conf / f"{root}.yaml").is_file() and not {"config_path", "config_dir"} & parsed.options.keys():
        fix = did_you_mean(root, [p.stem for p in conf.glob("*.yaml")], "there are")
        raise UsageError(f"-cn {root}: there is no conf/{root}.yaml; {fix}")
    pipeline = root == "pipeline"
    if pipeline and not Path("params.yaml").exists():
        fail("there is no params.yaml, which -cn pipeline reads; run `seg configure` first")
    if not parsed.help and "hydra_help" not in parsed.options:
        from seg.configure.compose import explain, explain_recorded

        if not pipeline:
            explain(conf, overrides, sweep="multirun" in parsed.options or "hydra.mode=MULTIRUN" in overrides)
        elif overrides:
            explain_recorded(conf, Path("params.yaml"), overrides)
    if command.name != "train" and not in_first_process():
        fail(f"seg {command.name} runs in one process, and this is another; start it without torchrun or srun")
    if any(o.startswith("hydra/launcher=") and o.endswith("slurm") for o in overrides) and not shutil.which("srun"):
        fail("hydra/launcher=slurm: there is no srun here; run it on a machine of the cluster, or set hydra/launcher=joblib")

    own = list(sys.argv)

    def task(config: "DictConfig") -> float | None:
        sys.argv = own  # the processes that Lightning starts for further devices repeat the command
        return _run(command.name, config)

    named = [] if any(a.startswith("hydra.job.name=") for a in overrides) else [f"hydra.job.name={command.name}"]
    if command.name == "train" and not in_first_process():  # one process writes
        named += ["hydra/job_logging=stdout", "hydra.output_subdir=null"]
        named += [] if any(a.startswith("hydra.run.dir=") for a in overrides) else ["hydra.run.dir=."]
    sys.argv = ["seg", *parsed.typed, *overrides, *named]  # Hydra takes no option between overrides
    printed = io.StringIO() if parsed.help or {"cfg", "info", "hydra_help"} & parsed.options.keys() else None
    try:
        with redirect_stdout(printed or sys.stdout):  # Hydra makes a traceback of a pipe that was closed
            hydra.main(version_base="1.3", config_path=str(conf), config_name="config")(task)()
    finally:
        if printed:
            print(printed.getvalue(), end="", flush=True)


def _run(command: str, config: "DictConfig") -> float | None:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from seg.configure.compose import plain
    from seg.configure.config import check_signatures, checked
    from seg.settings.planned import FILE, filled, refuse_open

    try:
        job = HydraConfig.get()
        params, composed = plain(config), None
        if job.job.config_name != "pipeline":  # whose values `configure` has checked, and whose stages DVC keeps in step
            composed = checked(params)
            refuse_sweep_of_several(command, job.mode == RunMode.MULTIRUN, composed.trainer)
        stage = import_module(f"seg.stages.{command}")  # takes seconds, so mistakes are told before
        if composed:
            if "optimizer" in stage.Settings.model_fields:  # it imports all that the targets do
                check_signatures(composed)
            if made := stage.Settings.MADE:
                from seg.configure.made import as_made  # the stage has imported what takes long

                params = as_made(conf_folder(Path.cwd()), params, made)
        if command not in UNPLANNED:
            path = Path(params["paths"]["plan"]) / FILE
            params = filled(params, path)
            refuse_open(params, tuple(stage.Settings.model_fields), path)
        typed = stage.Settings.of(params)
        if hasattr(typed, "trainer"):
            refuse_sweep_of_several(command, job.mode == RunMode.MULTIRUN, typed.trainer)
        with used_up():
            result: float | None = stage.run(typed, Path(job.runtime.output_dir))
    except InputError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted", code=130)
    else:
        return result
    return None


def refuse_sweep_of_several(command: str, sweep: bool, trainer: "Trainer") -> None:
    """Raise ConfigError for a sweep of trainings that are several processes each."""
    if command == "train" and sweep and several_processes(trainer):
        fix = "set trainer.devices=1, or queue the runs instead: dvc exp run --queue -S ..., then dvc queue start"
        raise ConfigError(f"-m with several devices: each further process would start the whole sweep again; {fix}")


def several_processes(trainer: "Trainer") -> bool:
    """Whether Lightning would start further processes, or may, or a launcher has."""
    one = trainer.devices == 1 or (isinstance(trainer.devices, list) and len(trainer.devices) == 1)
    return not one or trainer.num_nodes > 1 or trainer.strategy != "auto" or processes_started() > 1
