"""`seg COMMAND [OVERRIDE ...]`, also `python -m seg`: finds the command, composes its configuration, runs it.

A user's mistake ends in one line on stderr and exit code 1 (2 for a command that does not exist).
"""

import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from seg.core.environment import conf_folder, in_first_process, prepare_environment, processes_started
from seg.core.errors import ConfigError, InputError, UsageError, did_you_mean

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from seg.training.settings import Trainer

COMMANDS = {
    "new": "write a project: a folder with conf/ and dvc.yaml, in which the pipeline runs",
    "init": "look at a folder of labelled images, and write the configuration that reads it",
    "configure": "compose conf/ into params.yaml, which the pipeline reads",
    "prepare": "read, check and split the raw data set into data/prepared",
    "doctor": "look through the raw data set, and show on a page what is wrong with it",
    "augment": "compile the augmentation policy, draw its preview and copies",
    "train": "train a model and keep its best and last checkpoints",
    "lr": "suggest a learning rate, from a short training in which it rises",
    "sweep": "search for settings: train with many, and keep the best as an experiment",
    "evaluate": "score a checkpoint on a split, with figures, tables and pictures",
    "compare": "set evaluations side by side: figures with intervals of their differences, classes, images",
    "predict": "apply a trained model to images, folders or videos",
    "export": "write a checkpoint's network as ONNX, torch.export or OpenVINO, and compare it with the checkpoint",
    "models": "list the models, losses and encoders there are, with their sizes",
}

WITH_VALUE = {"-cn", "--config-name", "-cp", "--config-path", "-cd", "--config-dir", "--package", "-p", "--cfg", "-c"}
HYDRA_FLAGS = WITH_VALUE | {"-h", "--help", "--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m"}
HYDRA_FLAGS |= {"--shell-completion", "-sc", "--experimental-rerun", "--info", "-i"}
"""The options of Hydra's command line; the first few are followed by a value."""

USAGE = """usage: seg COMMAND [OVERRIDE ...]     the same as python -m seg COMMAND

{commands}

The whole pipeline:            dvc repro
With other settings:           dvc exp run -S model=fcn -S optimizer.lr=1e-3
One stage by hand:             seg train model=fcn optimizer.lr=1e-3
A command's groups and keys:   seg train --help
"""

CONFIGURE_USAGE = """usage: seg configure [OVERRIDE ...] | --clear

Writes params.yaml from conf/. Overrides given here are recorded in it, in place of those recorded before; without any,
the recorded ones stay; --clear forgets them. Groups and keys: seg train --help
"""

COMPARE_USAGE = """usage: seg compare RUN RUN ... [--out FOLDER] [--data FOLDER] [--images N]

Compares evaluations of the same images with the first one: figures with a paired bootstrap of their differences, the classes,
and the images on which they differ most, in <out>/compare.html, differences.csv and per_image.csv.

  RUN             a folder that holds evaluation.json (or artifacts/evaluate with it), `workspace`, or a git revision or DVC
                  experiment, whose evaluation comes from DVC's cache
  --out FOLDER    of the outputs, which is replaced; artifacts/compare if left out
  --data FOLDER   the prepared data that were evaluated; paths.prepare of conf/config.yaml if left out
  --images N      shown of the best gains and of the worst losses, each; 8 if left out
"""

MODELS_USAGE = """usage: seg models [--encoders [PATTERN]]

Lists the options of conf/model and conf/loss, with parameters and source; with --encoders, the encoders whose name matches
the pattern (a part of it, or with wildcards, as in 'tu-convnext*'), or all but timm's.
"""

EXPORT_USAGE = """usage: seg export CHECKPOINT [KEY=VALUE ...]

Writes a file that holds the whole way from stored pixels to logits, compares it with the checkpoint, and removes it where they
differ. The keys are those of conf/export/default.yaml, which says more; without one the file is <CHECKPOINT's name>.onnx beside it.

  format=onnx|torch_export|openvino    out=FILE    argmax=true    size=HEIGHTxWIDTH    images=FOLDER    check.tolerance=0.001
"""


SWEEP_USAGE = """usage: seg sweep [OVERRIDE ...]

Trains with settings that a sampler draws from sweep.space, each in a process of its own, prunes those that lag behind, and keeps the
best by its validation figure as conf/experiment/<study>.yaml. The same command goes on with a study that was interrupted.

  sweep=NAME              an option of conf/sweep, which names study, trials, space, sampler, pruner, and jobs at once
  sweep.KEY=VALUE         one of its keys, as in sweep.trials=50
  any other OVERRIDE      holds for every trial
"""


def main() -> None:
    """The console script."""
    prepare_environment()
    command, *arguments = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help", "help"):
        print(USAGE.format(commands="\n".join(f"  {name:<11}{text}" for name, text in COMMANDS.items())))
        return
    if command == "--version":
        from importlib.metadata import version

        print(f"seg {version('seg')}")
        return
    try:
        if command not in COMMANDS:
            fail(f"no command '{command}': {did_you_mean(command, COMMANDS, 'commands')}", code=2)
        own = {"new": new, "init": init, "configure": configure, "compare": compare, "predict": predict, "export": export, "models": models}
        own["sweep"] = sweep
        if command in own:
            own[command](arguments)
        else:
            run_stage(command, arguments)
    except InputError as error:
        fail(str(error), code=2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        fail("interrupted", code=130)


def fail(message: str, code: int = 1) -> None:
    """End the program with one line."""
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def new(arguments: list[str]) -> None:
    """`seg new FOLDER`."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise UsageError("new: expected one folder, as in: seg new myproject")
    from seg.stages import new as stage

    stage.run(Path(arguments[0]))


def init(arguments: list[str]) -> None:
    """`seg init FOLDER [--name NAME] [--as FORMAT] [--force]`."""
    from seg.stages import init as stage

    stage.run(Path.cwd(), arguments)


def configure(arguments: list[str]) -> None:
    """`seg configure [OVERRIDE ...]`."""
    if "-h" in arguments or "--help" in arguments:
        print(CONFIGURE_USAGE)
        return
    from seg.stages import configure as stage

    stage.run(Path.cwd(), [] if arguments == ["--clear"] else arguments or None)


def sweep(arguments: list[str]) -> None:
    """`seg sweep [OVERRIDE ...]`."""
    if "-h" in arguments or "--help" in arguments:
        print(SWEEP_USAGE)
        return
    from seg.stages import sweep as stage

    stage.run(Path.cwd(), arguments)


def compare(arguments: list[str]) -> None:
    """`seg compare RUN RUN ... [--out FOLDER] [--data FOLDER] [--images N]`."""
    if "-h" in arguments or "--help" in arguments:
        print(COMPARE_USAGE)
        return
    from seg.stages import compare as stage

    stage.run(Path.cwd(), arguments)


def predict(arguments: list[str]) -> None:
    """`seg predict MODEL INPUT... [OVERRIDE ...] [--out FOLDER] [--force | --skip]`."""
    from seg.stages import predict as stage

    stage.run(arguments)


def models(arguments: list[str]) -> None:
    """`seg models [--encoders [PATTERN]]`."""
    if "-h" in arguments or "--help" in arguments:
        print(MODELS_USAGE)
        return
    from seg.stages import models as stage

    stage.run(Path.cwd(), arguments)


def export(arguments: list[str]) -> None:
    """`seg export CHECKPOINT [KEY=VALUE ...]`."""
    if "-h" in arguments or "--help" in arguments:
        print(EXPORT_USAGE)
        return
    from seg.stages import export as stage

    stage.run(Path.cwd(), arguments)


def run_stage(command: str, arguments: list[str]) -> None:
    """Compose with Hydra and run `seg.stages.<command>.run(config, out)`."""
    import hydra

    conf = conf_folder(Path.cwd())
    flags = [a for a in arguments if a.startswith("-")]
    if unknown := [f for f in flags if f.split("=")[0] not in HYDRA_FLAGS]:
        fail(
            f"unknown option {unknown[0]}: settings are written without dashes, as in {unknown[0].lstrip('-').split('=')[0]}=VALUE", code=2
        )
    pipeline = "pipeline" in arguments and ("-cn" in flags or "--config-name" in flags)
    if pipeline and not Path("params.yaml").exists():
        fail("there is no params.yaml, which -cn pipeline reads; run `seg configure` first")
    options, overrides = _apart(arguments)
    if not {"-h", "--help", "--hydra-help"} & set(flags):
        from seg.configure.compose import explain, explain_recorded

        if not pipeline:
            explain(conf, overrides)
        elif overrides:
            explain_recorded(conf, Path("params.yaml"), overrides)
    if command != "train" and not in_first_process():
        fail(f"seg {command} runs in one process, and this is another; start it without torchrun or srun")
    if any(o.startswith("hydra/launcher=") and o.endswith("slurm") for o in overrides) and not shutil.which("srun"):
        fail("hydra/launcher=slurm: there is no srun here; run it on a machine of the cluster, or set hydra/launcher=joblib")

    own = list(sys.argv)

    def task(config: "DictConfig") -> float | None:
        sys.argv = own  # the processes that Lightning starts for further devices repeat the command
        return _run(command, config)

    named = [] if any(a.startswith("hydra.job.name=") for a in arguments) else [f"hydra.job.name={command}"]
    if command == "train" and not in_first_process():  # one process writes
        named += ["hydra/job_logging=stdout", "hydra.output_subdir=null"]
        named += [] if any(a.startswith("hydra.run.dir=") for a in arguments) else ["hydra.run.dir=."]
    app = [f"hydra.help.app_name='seg {command}'"] if {"-h", "--help"} & set(flags) else []
    sys.argv = ["seg", *options, *overrides, *named, *app]  # Hydra takes no option between overrides
    hydra.main(version_base="1.3", config_path=str(conf), config_name="config")(task)()


def _run(command: str, config: "DictConfig") -> float | None:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from seg.configure.compose import plain
    from seg.configure.config import checked

    try:
        job = HydraConfig.get()
        params, stage = plain(config), import_module(f"seg.stages.{command}")
        if job.job.config_name != "pipeline":  # whose values `configure` has checked
            checked(params)
        typed = stage.Settings.of(params)
        if job.mode == RunMode.MULTIRUN and hasattr(typed, "trainer") and several_processes(typed.trainer):
            raise ConfigError(
                "-m with several devices: each further process would start the whole sweep again; set trainer.devices=1, "
                "or queue the runs instead: dvc exp run --queue -S ..., then dvc queue start"
            )
        result: float | None = stage.run(typed, Path(job.runtime.output_dir))
    except InputError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted", code=130)
    else:
        return result
    return None


def several_processes(trainer: "Trainer") -> bool:
    """Whether Lightning would start further processes, or may, or a launcher has."""
    one = trainer.devices == 1 or (isinstance(trainer.devices, list) and len(trainer.devices) == 1)
    return not one or trainer.num_nodes > 1 or trainer.strategy != "auto" or processes_started() > 1


def _apart(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Options of Hydra's command line with their values, and overrides."""
    is_option = [a.startswith("-") or (i > 0 and arguments[i - 1] in WITH_VALUE) for i, a in enumerate(arguments)]
    options, overrides = ([a for a, found in zip(arguments, is_option, strict=True) if found is wanted] for wanted in (True, False))
    return options, overrides
