"""Every command of `seg`: what it does, and the arguments and options it takes.

The parser, the help and the table of docs/reference.md are made from this one. A new command costs an entry in COMMANDS and a module
of its name in seg/stages: with `run(config, out)` where Hydra composes its settings (`composed`), else with a dataclass `Arguments`, whose
fields are the attributes named here, and `run(project, arguments)`. Nothing is imported here, so that help starts quickly.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def whole_number(text: str) -> int:
    """An integer of 0 or more. ValueError says what is expected."""
    if not text.isascii() or not text.isdigit():
        raise ValueError("a whole number of 0 or more")
    return int(text)


def two_numbers(text: str) -> tuple[int, int]:
    """Two integers of 0 or more with a comma between them. ValueError says what is expected."""
    first, _, second = text.partition(",")
    try:
        return whole_number(first.strip()), whole_number(second.strip())
    except ValueError:
        raise ValueError("two whole numbers, such as 120,64") from None


@dataclass(frozen=True, slots=True)
class Positional:
    """Words without dashes. attribute: of the stage's Arguments. name: in the help. least, most: how many; most=None is any number.

    suffixes: words that end so belong here wherever they stand; the other words belong to the positional without suffixes.
    """

    attribute: str
    name: str
    text: str
    least: int = 1
    most: int | None = 1
    convert: Callable[[str], Any] = str
    suffixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Option:
    """Words with dashes. attribute: of the stage's Arguments. value: the name of its value in the help; None for a switch.

    lone: what the option means without a value; None where it needs one. choices: its values; empty for any. apart: the attribute of an
    option that excludes this one. many: it may be given several times, and its values are a list.
    An option without text is taken, and left out of the help.
    """

    attribute: str
    names: tuple[str, ...]
    text: str = ""
    value: str | None = None
    default: Any = None
    lone: str | None = None
    choices: tuple[str, ...] = ()
    convert: Callable[[str], Any] = str
    apart: str | None = None
    many: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """overrides: what a word KEY=VALUE means; empty where the command takes none. composed: whether Hydra composes its settings."""

    name: str
    summary: str
    about: str
    examples: tuple[tuple[str, str], ...]
    positionals: tuple[Positional, ...] = ()
    options: tuple[Option, ...] = ()
    overrides: str = ""
    composed: bool = False


HELP = Option("help", ("-h", "--help"), "show this help")

HYDRA = (
    Option("multirun", ("-m", "--multirun"), "run once for each combination of values that are separated by commas"),
    Option(
        "config_name",
        ("-cn", "--config-name"),
        "with `pipeline`, take the settings of params.yaml and write to the pipeline's folders",
        value="NAME",
    ),
    Option("cfg", ("--cfg", "-c"), "print the settings instead of running", value="PART", choices=("job", "hydra", "all")),
    Option("resolve", ("--resolve",), "with --cfg, print values in place of the references to them"),
    Option(
        "info",
        ("--info", "-i"),
        "print how Hydra composes the settings",
        value="PART",
        lone="all",
        choices=("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    ),
    Option("hydra_help", ("--hydra-help",), "show all options of Hydra"),
    Option("config_path", ("-cp", "--config-path"), value="FOLDER"),
    Option("config_dir", ("-cd", "--config-dir"), value="FOLDER"),
    Option("package", ("-p", "--package"), value="PACKAGE"),
    Option("rerun", ("--experimental-rerun",), value="FILE"),
    Option("run", ("-r", "--run")),
    Option("version", ("--version",)),
    Option("shell_completion", ("-sc", "--shell-completion")),
)
"""The options of Hydra's command line."""

OVERRIDE = (
    "an option of a group (model=fcn) or a key (optimizer.lr=1e-3); +KEY=VALUE adds a key, ~KEY removes one, and with -m commas make a "
    "sweep (model=unet,fcn)"
)


def _stage(name: str, summary: str, about: str, *examples: tuple[str, str]) -> Command:
    """A command whose settings Hydra composes."""
    return Command(name, summary, about, examples, options=HYDRA, overrides=OVERRIDE, composed=True)


_COMMANDS = (
    Command(
        "new",
        "write a project: a folder with conf/ and dvc.yaml, in which the pipeline runs",
        "The project holds settings and data, and no code: the installed package runs it. It becomes a git repository, unless it lies "
        "in one.",
        (("seg new cells", "then `cd cells && dvc repro` trains and evaluates on drawn shapes, as a first look"),),
        positionals=(Positional("folder", "FOLDER", "a folder that is new, or empty", convert=Path),),
    ),
    Command(
        "init",
        "look at a folder of labelled images, and write the configuration that reads it",
        "Says which format it takes the folder for and why, and writes `conf/data/<name>.yaml`. The images are left as they are.",
        (
            ("seg init /path/to/mydata", "writes conf/data/mydata.yaml"),
            ("seg init /path/to/mydata --as folders --name cells", "takes it for another format"),
        ),
        positionals=(Positional("folder", "FOLDER", "the folder that holds images and labels", convert=Path),),
        options=(
            Option("name", ("--name",), "the name of conf/data/<name>.yaml; the folder's own name if left out", value="NAME"),
            Option("format", ("--as",), "the option of conf/data to take it for, where several fit", value="FORMAT"),
            Option("images", ("--images",), "the folder of the images, below FOLDER, where several fit; may hold *", value="PLACE"),
            Option("labels", ("--labels",), "the folder or file of the labels, below FOLDER, where several fit; may hold *", value="PLACE"),
            Option(
                "settings",
                ("--set",),
                "a key of data.source or data.split, as in --set source.boxes=true; may be given several times",
                value="KEY=VALUE",
                default=(),
                many=True,
            ),
            Option("force", ("--force",), "replace conf/data/<name>.yaml"),
        ),
    ),
    Command(
        "configure",
        "compose conf/ into params.yaml, which the pipeline reads",
        "Overrides given here are recorded in params.yaml, in place of those recorded before. Without overrides the recorded ones stay. "
        "`seg train --help` lists groups and keys.",
        (
            ("seg configure", "after an edit of conf/; `dvc repro` does the same"),
            ("seg configure model=fcn optimizer.lr=1e-3", "records two overrides"),
            ("seg configure --clear", "goes back to the defaults of conf/"),
        ),
        options=(Option("clear", ("--clear",), "forget the recorded overrides"),),
        overrides="an option of a group (model=fcn) or a key (optimizer.lr=1e-3)",
    ),
    _stage(
        "prepare",
        "read, check and split the raw data set into data/prepared",
        "By hand it writes below outputs/prepare; with `-cn pipeline` to `paths.prepare`.",
        ("seg prepare data=mydata", "one data set, below outputs/prepare"),
        ("seg prepare -cn pipeline", "with the settings of params.yaml, into data/prepared"),
    ),
    _stage(
        "doctor",
        "look through the raw data set, and show on a page what is wrong with it",
        "Reads and checks the raw data as `prepare` does, and prepares nothing. doctor.html shows the findings, doctor.json lists them. "
        "The exit code is 1 if there are errors. With `-cn pipeline` it writes to `paths.doctor`.",
        ("seg doctor data=mydata", "the page is below outputs/doctor"),
        ("seg doctor -cn pipeline", "with the settings of params.yaml"),
    ),
    _stage(
        "plan",
        "choose the settings that are left open, by the data, this machine and the time there is, and say why",
        "Reads `paths.prepare` and times some steps on this machine. By hand it writes plan.yaml below outputs/plan; with `-cn pipeline` "
        "to `paths.plan`, anew. The pipeline keeps a plan that was made for the same data and settings.",
        ("seg plan data=mydata", "print what would be chosen, train nothing"),
        ("seg plan plan.minutes=120", "what two hours would be used for"),
        ("seg plan -cn pipeline", "make the pipeline's plan anew, for this machine"),
    ),
    _stage(
        "augment",
        "compile the augmentation policy, draw its preview and copies",
        "Reads `paths.prepare`. By hand it writes below outputs/augment; with `-cn pipeline` to `paths.augment`.",
        ("seg augment augment=heavy", "see the preview below outputs/augment"),
    ),
    _stage(
        "train",
        "train a model and keep its best and last checkpoints",
        "Reads `paths.prepare` and `paths.augment`. By hand it writes below outputs/train, a sweep below multirun/train.",
        ("seg train model=fcn optimizer.lr=1e-3", "one training, below outputs/train"),
        ("seg train -m model=unet,fcn optimizer.lr=1e-3,1e-2", "four trainings, one after another"),
        ("seg train model=fcn --cfg job", "print the settings, train nothing"),
    ),
    _stage(
        "lr",
        "suggest a learning rate, from a short training in which it rises",
        "Prints a value for `optimizer.lr`, and writes lr.png and lr.csv.",
        ("seg lr model=fcn", "a suggestion for this model"),
    ),
    _stage(
        "describe",
        "say what a network costs and how far it sees, before it is trained",
        "Prints parameters, multiply-adds, activations, memory of a training step and of a prediction, and receptive fields, and writes "
        "layers.csv, describe.json and receptive_field.png. It says where objects of the prepared data are larger than what the network "
        "sees, or smaller than the raster of its features.",
        ("seg describe model=deeplabv3", "one network, below outputs/describe"),
        ("seg describe 'describe.size=[1024,1024]'", "for images of another size"),
    ),
    Command(
        "sweep",
        "search for settings: train with many, and keep the best as an experiment",
        "A sampler draws settings from sweep.space. Each training is a process of its own, and one that lags behind is ended early. "
        "The settings with the best validation figure become `conf/experiment/<study>.yaml`. The same command goes on with a study that "
        "was interrupted. It needs optuna: `pip install -e '.[sweep]'`.",
        (
            ("seg sweep sweep=sgd optimizer=sgd scheduler=onecycle", "learning rate, weight decay and warm-up of SGD"),
            ("seg sweep sweep.trials=50 trainer.max_epochs=20", "50 trainings of 20 epochs"),
        ),
        overrides="sweep=NAME, an option of conf/sweep, which names study, trials, space, sampler, pruner and jobs; sweep.KEY=VALUE, one "
        "of these keys; every other override holds for all trainings",
    ),
    _stage(
        "evaluate",
        "score a checkpoint on a split, with figures, tables and pictures",
        "Scores the checkpoint in `paths.train` on the data in `paths.prepare`, and writes report.html beside figures and tables.",
        ("seg evaluate paths.train=outputs/train/<time>", "a training by hand"),
        ("seg evaluate evaluate.split=val", "on the validation split"),
    ),
    _stage(
        "divide",
        "divide the prepared images into folds, as plan.folds says",
        "A stage of the pipeline where `plan.folds` is set. Writes data/folds: for each fold a prepared data set, of which the fold is the "
        "validation split, without copies of the images; and folds.csv, which says in which fold each image is.",
        ("seg divide -cn pipeline", "with the settings of params.yaml"),
    ),
    _stage(
        "folds",
        "score each image by the model of its fold, which did not learn from it",
        "A stage of the pipeline where `plan.folds` is set; reads the models in `paths.fold`. Writes what `evaluate` writes, over the "
        "images of all folds, to `paths.folds`. Its folder `ensemble` holds the same of the test split by all models together, where the "
        "data set names its own test split.",
        ("seg folds -cn pipeline", "score the models again; `dvc exp run -S plan.folds=5 folds` divides, trains and scores"),
    ),
    Command(
        "compare",
        "set evaluations side by side: figures with intervals of their differences, classes, images",
        "Compares evaluations of the same images with the first one: figures with a paired bootstrap of their differences, the classes, "
        "and the images on which they differ most. Writes compare.html, differences.csv and per_image.csv.",
        (
            ("seg compare main workspace", "a branch, and artifacts/evaluate"),
            ("seg compare baseline/ artifacts/evaluate --out compared", "two folders"),
        ),
        positionals=(
            Positional(
                "runs",
                "RUN",
                "a folder that holds evaluation.json (or artifacts/evaluate with it), `workspace`, or a git revision or DVC experiment, "
                "whose evaluation comes from DVC's cache; `main:artifacts/out_of_fold` is another folder of that revision",
                least=2,
                most=None,
            ),
        ),
        options=(
            Option("out", ("--out",), "the folder of the outputs, which is replaced", "FOLDER", Path("artifacts/compare"), convert=Path),
            Option(
                "data",
                ("--data",),
                "the prepared data that were evaluated; paths.prepare of conf/config.yaml if left out",
                "FOLDER",
                convert=Path,
            ),
            Option("images", ("--images",), "how many of the best gains and of the worst losses are shown", "N", 8, convert=whole_number),
        ),
    ),
    Command(
        "predict",
        "apply a trained model to images, folders or videos",
        "Several models answer together, as an ensemble. The outputs lie in a folder for each kind.",
        (
            ("seg predict artifacts/train/best.ckpt scans/", "all images below scans/, to predictions/"),
            ("seg predict best.ckpt 'scans/*.tif' film.mp4 --out out", "a pattern, and a video's frames"),
            ("seg predict best.ckpt scans/ predict.outputs=[classes,overlay]", "which files are written"),
        ),
        positionals=(
            Positional(
                "models",
                "MODEL",
                "a checkpoint of training, such as artifacts/train/best.ckpt, or a file of `seg export`",
                most=None,
                convert=Path,
                suffixes=(".ckpt", ".onnx", ".pt2", ".xml"),
            ),
            Positional("inputs", "INPUT", "an image, a folder, a video, or a pattern in quotes, such as 'scans/*.tif'", most=None),
        ),
        options=(
            Option("out", ("--out",), "the folder of the outputs", "FOLDER", Path("predictions"), convert=Path),
            Option("force", ("--force",), "replace outputs that are there already", apart="skip"),
            Option("skip", ("--skip",), "leave out images whose outputs are there already", apart="force"),
        ),
        overrides="a key of conf/predict, such as predict.score_threshold=0.3",
    ),
    Command(
        "explain",
        "show which pixels of an image a model's answer rests on",
        "Sets gradients, integrated gradients, Grad-CAM, occlusion and, where the network has it, attention beside each other, and beside "
        "the same of random weights. Without --class and --at it explains the most frequent class, or the instance with the highest score. "
        "It needs captum: `pip install -e '.[explain]'`.",
        (
            ("seg explain artifacts/train/best.ckpt scan.png", "explained/explain.html"),
            ("seg explain best.ckpt scans/ --class vessel --out why", "one class, in all images below scans/"),
            ("seg explain best.ckpt scan.png --at 120,64", "the object at column 120, row 64"),
        ),
        positionals=(
            Positional("model", "MODEL", "a checkpoint of training", convert=Path, suffixes=(".ckpt", ".onnx", ".pt2", ".xml")),
            Positional("inputs", "INPUT", "an image, a folder, or a pattern in quotes", most=None),
        ),
        options=(
            Option("name", ("--class",), "the name of a class", value="NAME"),
            Option("at", ("--at",), "a pixel that the explained part of the answer covers", value="X,Y", convert=two_numbers),
            Option("out", ("--out",), "the folder of the outputs", "FOLDER", Path("explained"), convert=Path),
        ),
        overrides="a key of conf/predict, such as predict.accelerator=cpu",
    ),
    Command(
        "export",
        "write a checkpoint's network as ONNX, torch.export or OpenVINO, and compare it with the checkpoint",
        "The file holds the whole way from stored pixels to logits. It is removed if it does not give what the checkpoint gives.",
        (
            ("seg export artifacts/train/best.ckpt", "artifacts/train/best.onnx"),
            ("seg export best.ckpt format=openvino out=/srv/cells.xml", "and /srv/cells.bin"),
        ),
        positionals=(Positional("checkpoint", "CHECKPOINT", "a checkpoint of training, such as artifacts/train/best.ckpt", convert=Path),),
        overrides="a key of conf/export/default.yaml, which explains them: format=onnx|torch_export|openvino, out=FILE, argmax=true, "
        "size=HEIGHTxWIDTH, images=FOLDER, check.tolerance=0.001; or paths.prepare=FOLDER",
    ),
    Command(
        "clean",
        "list what interrupted commands left, and remove it",
        "Lists the states of interrupted trainings, from which the same command goes on, and outputs that were not finished. What a "
        "running training uses is left.",
        (("seg clean", "lists"), ("seg clean --remove", "removes what it lists")),
        options=(Option("remove", ("--remove",), "remove what is listed"),),
    ),
    Command(
        "models",
        "list the models, losses and encoders there are, with their sizes",
        "Lists the options of conf/model and conf/loss, with parameters and source; or the encoders that models with an encoder_name take.",
        (
            ("seg models", "models and losses"),
            ("seg models --encoders convnext", "encoders whose name holds a word"),
            ("seg models --encoders 'tu-resnet*'", "encoders whose name matches a pattern"),
        ),
        options=(
            Option(
                "encoders",
                ("--encoders",),
                "list encoders instead: those whose name holds the word or matches the pattern; without one, all but timm's",
                "PATTERN",
                lone="",
            ),
        ),
    ),
)

COMMANDS = {command.name: command for command in _COMMANDS}
