"""Overrides found again from a composed configuration, and what a slip of the pen is answered with."""

import copy
import re
from itertools import cycle, islice
from pathlib import Path

import pytest
import yaml
from typed import typed

from seg.configure.compose import compose, explain
from seg.configure.config import check_signatures, checked
from seg.core.errors import ConfigError, DataError
from seg.stages.configure import OVERRIDES, checksum, derive, read

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"

ROUND_TRIPS = [
    [],
    ["model=fcn", "optimizer=adamw", "optimizer.lr=1e-05", "model.stride=16", "trainer=ddp", "trainer.devices=[0,1]"],
    ["model=fcn32s", "seed=-3", "optimizer=sgd", "optimizer.lr=1e-300", "augment.transforms=[]"],
    ["experiment=smoke", "trainer.max_epochs=7"],
    [
        *("data=folders", "data.root='/a b/c:d,e{f}=\"q\" $x é'", "data.source.images=''", "data.source.masks='null'"),
        *("data.source.image_suffix='1e3'", "data.source.mask_suffix='C:\\x'"),
    ],
    ["data=folders", "data.root='C:\\\\'", 'data.source.images="it\'s"', "data.source.masks='a\\'b\\\\'"],
    [
        *("model=unet_small", "~model.network.encoder_depth", "+model.network.decoder_attention_type=scse"),
        "+model.network.aux_params={classes:3,pooling:{kind:avg}}",
    ],
    ["loss=ce", "loss.class_weights=[1,2.5,1,1,1,3]", "data.split.ratios=null"],
    ["data.split.ratios={train:0.6,val:0.2,test:0.2}", "data.split.stratify=kind", "data.split.table={file:index.csv,id:image_id}"],
    ["data=camvid", "data.split.lists={train:a.txt,val:b.txt,test:c.txt}", "data.split.ratios={train:0.5,val:0.25,test:0.25}"],
    [
        "loss=ce_dice",
        "loss.terms.ce.loss.class_weights=median",
        "+loss.terms.focal={weight:0.1,loss:{_target_:seg.models.losses.Focal,gamma:1.0,class_weights:none}}",
    ],
]


@pytest.mark.parametrize("overrides", ROUND_TRIPS, ids=" ".join)
def test_the_overrides_of_a_composed_configuration_are_found_again(overrides: list[str]) -> None:
    params, _ = compose(CONF, overrides)
    params[OVERRIDES] = []
    again, _ = compose(CONF, derive(CONF, params))
    assert {**again, OVERRIDES: 0} == {**params, OVERRIDES: 0}


@pytest.mark.parametrize("overrides", [["model=fcn", "optimizer.lr=0.01"], ["experiment=smoke"]], ids=" ".join)
def test_found_overrides_are_as_short_as_those_given(overrides: list[str]) -> None:
    assert derive(CONF, compose(CONF, overrides)[0]) == overrides


@pytest.mark.parametrize(
    ("override", "answer"),
    [
        ("modle=unet", "unknown key modle: did you mean 'model'? (groups and keys: augment, data,"),
        (
            "optimizer=sgd optimizer.lrr=1",
            "unknown key optimizer.lrr: did you mean 'lr'? (keys of optimizer: _target_, fused, lr, momentum, name,",
        ),
        ("model=fnc", "model=fnc: no such option; did you mean 'fcn'? (options of model: "),
        ("model=fcn,unte", "model=fcn,unte: gives several values, where one is expected"),
        ("trainer.batch_size=many", "trainer.batch_size='many': expected integer or 'auto', got str"),
        ("trainer.batch_size=0", "trainer.batch_size=0: expected greater than 0"),
        ("data.channels=0", "data.channels=0: expected greater than 0, got int"),
        ("data.range=[9,5]", "data.range=[9, 5]: expected [low, high] such as [0, 4095], image or null, got list"),
        ("data.range=images", "data.range='images': expected [low, high] such as [0, 4095], image or null, got str"),
        ("trainer.precision=bf61", "trainer.precision='bf61': expected 'auto', '32-true', 'bf16-mixed' or '16-mixed'"),
        ("+trainer.batch_sise=3", "unknown key trainer.batch_sise: did you mean 'batch_size'?"),
        ("+foo.bar=1", "unknown key foo: keys of the top level: augment, data,"),
        ("data.source.num_images=many", "data.source.num_images='many': expected integer, got str"),
        ("loss._target_=os.system", "loss._target_=os.system: is not in an allowed module (seg,"),
        ("loss=ce loss.label_smoothing=1", "loss.label_smoothing=1: expected less than 1, got int"),
        (
            "loss=ce_dice loss.terms.dcie.weight=1",
            "unknown key loss.terms.dcie.weight: did you mean 'dice'? (keys of loss.terms: ce, dice)",
        ),
        ("loss=ce_dice loss.terms.ce.loss.class_weights=x", "loss.terms.ce.loss.class_weights='x': expected 'none', 'inverse' or 'median'"),
        ("data=camvid", "data.root has no value yet: set data.root=<folder of the data set> (to be had from github.com/alexgkendall"),
        (
            "augment=light augment.crop.size=[160,160]",
            "augment.crop.size: the plan chooses augment.crop; set all of it, as in 'augment.crop={size:[256,256],foreground:0.5}'",
        ),
        (
            "loss.label_smoothing=0.1",
            "loss.label_smoothing: the plan chooses loss (loss=auto); name an option of loss as well, as in loss=ce loss.",
        ),
        (
            "model.network.encoder_name=x",
            "the plan chooses model.network (model=auto); name an option of model as well, as in model=unet model.network",
        ),
        ("trainer.patience=auto", "trainer.patience='auto': expected integer, got str"),
        ("model", "'model' is not an override: write key=value"),
        ("paths.train=/elsewhere", "paths.train=/elsewhere: dvc.yaml fixes the pipeline's folders"),
    ],
)
def test_a_slip_is_answered_with_the_nearest_right_name(tmp_path: Path, override: str, answer: str) -> None:
    (tmp_path / "conf").symlink_to(CONF)
    with pytest.raises((ConfigError, DataError)) as caught:
        typed("configure", tmp_path, override.split())
    assert answer in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "params.yaml").exists()


def test_groups_and_keys_of_hydra_are_left_to_hydra() -> None:
    explain(CONF, ["hydra/launcher=joblib", "hydra.run.dir=x"])


@pytest.fixture(scope="module")
def sum_of_losses() -> dict:
    return compose(CONF, ["loss=ce_dice"])[0]


DICE = "seg.models.losses.Dice"
NESTED_SLIPS = [
    ("dice.loss.clas_weights", "none", "unknown key loss.terms.dice.loss.clas_weights: did you mean 'class_weights'? (arguments of"),
    ("dice.loss.class_weights", "invers", "loss.terms.dice.loss.class_weights='invers': expected 'none', 'inverse' or"),
    ("dice.loss.class_weights", ..., "loss.terms.dice.loss.class_weights is missing: seg.models.losses.Dice needs it"),
    ("dice.loss._target_", "seg.models.losses.Dicee", "loss.terms.dice.loss._target_=seg.models.losses.Dicee: seg.models.losses has no"),
    ("dice.loss._target_", "os.system", "loss.terms.dice.loss._target_=os.system: is not in an allowed module (seg,"),
    ("dice.loss._target_", 3, "loss.terms.dice.loss._target_=3: expected the name of a class or function"),
    ("dice.loss", "dice", "loss.terms.dice.loss='dice': expected callable, got str"),
    ("dice.weight", -1, "loss.terms.dice.weight=-1: expected greater than or equal to 0, got int"),
    ("dice.weight", "half", "loss.terms.dice.weight='half': expected number, got str"),
    ("dice.weight", ..., "loss.terms.dice.weight is missing: set it"),
    ("dice.wieght", 1, "unknown key loss.terms.dice.wieght: did you mean 'weight'? (keys of loss.terms.dice: loss, rise, weight)"),
    ("x", {"wieght": 1, "loss": {"_target_": DICE, "class_weights": "none"}}, "unknown key loss.terms.x.wieght: did you mean 'weight'?"),
]


@pytest.mark.parametrize(("key", "value", "answer"), NESTED_SLIPS)
def test_a_slip_within_a_sum_of_losses_is_answered_as_well(sum_of_losses: dict, key: str, value: object, answer: str) -> None:
    params = copy.deepcopy(sum_of_losses)
    *parents, last = key.split(".")
    place = params["loss"]["terms"]
    for parent in parents:
        place = place[parent]
    place.pop(last, None)
    if value is not ...:
        place[last] = value
    with pytest.raises(ConfigError) as caught:
        check_signatures(checked(params))
    assert answer in str(caught.value)
    assert "\n" not in str(caught.value)


def test_params_yaml_is_what_conf_composes() -> None:
    recorded = read(ROOT / "params.yaml")
    assert recorded == compose(CONF, recorded[OVERRIDES])[0] | {OVERRIDES: recorded[OVERRIDES]}
    assert (ROOT / "params.yaml").read_text().splitlines()[0].endswith(checksum(recorded))


def test_every_option_says_its_name() -> None:
    for path in CONF.glob("*/*.yaml"):
        content = yaml.safe_load(path.read_text())
        assert content.get(path.parent.name, content)["name"] == path.stem, path


def test_the_reference_lists_every_option() -> None:
    lines = (ROOT / "docs/reference.md").read_text().splitlines()
    rows = {group.strip(): options for _, group, options, *_ in (line.split("|") for line in lines if line.count("|") == 3)}
    for path in CONF.glob("*/*.yaml"):
        assert path.stem in re.findall(r"\w+", rows[path.parent.name]), path


@pytest.mark.slow
def test_every_option_composes() -> None:
    """Options of groups that know nothing of each other are composed together, as composing takes time."""
    options = {
        group.name: sorted(p.stem for p in group.glob("*.yaml"))
        for group in CONF.iterdir()
        if group.is_dir() and group.name not in ("hydra", "serve")
    }
    task_of = {name: yaml.safe_load((CONF / f"model/{name}.yaml").read_text())["task"] for name in options.pop("model")}
    assert task_of.pop("auto") == "${task.name}"
    task_of |= {name: task[-1] for name, task in task_of.items() if isinstance(task, list)}
    wanted = [[f"task={task}", f"model={name}"] for name, task in task_of.items() if task != "semantic"]
    wanted += [[f"experiment={name}", "data.root=/data"] for name in options.pop("experiment")]
    assert options.pop("task") == ["detection", "instance", "panoptic", "semantic"]
    options["loss"] = [name for name in options["loss"] if name not in ("mask_rcnn", "detection", "panoptic", "masks")]
    options["model"] = [name for name, task in task_of.items() if task == "semantic"]
    columns = zip(
        *(islice(cycle([f"{group}={name}" for name in names]), max(map(len, options.values()))) for group, names in options.items()),
        strict=True,
    )
    for overrides in [*wanted, *([*column, "data.root=/data"] for column in columns)]:
        checked(compose(CONF, overrides)[0])


def test_overrides_given_by_hand_are_recorded_and_cleared(tmp_path: Path) -> None:
    (tmp_path / "conf").symlink_to(CONF)
    typed("configure", tmp_path, ["optimizer.lr=0.5"])
    assert read(tmp_path / "params.yaml")[OVERRIDES] == ["optimizer.lr=0.5"]
    typed("configure", tmp_path, [])
    assert read(tmp_path / "params.yaml")["optimizer"]["lr"] == 0.5
    typed("configure", tmp_path, ["--clear"])
    assert read(tmp_path / "params.yaml")["optimizer"]["lr"] != 0.5


def test_data_raw_stands_for_the_data_set(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "conf").symlink_to(CONF)
    outside, inside = tmp_path / "elsewhere", project / "data" / "mine"
    outside.mkdir()
    inside.mkdir(parents=True)
    link = project / "data" / "raw"
    typed("configure", project, ["data=folders", f"data.root={outside}"])
    assert link.readlink() == outside
    typed("configure", project, ["data=folders", "data.root=data/mine"])
    assert str(link.readlink()) == "mine", "relative, so that it holds in a copy of the project"
    typed("configure", project, ["--clear"])
    assert str(link.readlink()) == "none.txt"
    assert "no such input" in link.read_text()
    with pytest.raises(DataError, match=r"data.root=/nowhere: there is no such folder; set data.root .* to be had from github.com"):
        typed("configure", project, ["data=camvid", "data.root=/nowhere"])
    assert read(project / "params.yaml")["data"]["name"] == "shapes", "a refused configuration leaves the last one"


def test_weights_that_train_writes_are_not_its_input(tmp_path: Path) -> None:
    (tmp_path / "conf").symlink_to(CONF)
    for name in ("artifacts/train/best.ckpt", "weights/best.ckpt"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=r"artifacts/train/best\.ckpt: is what `train` writes.*set model\.weights=weights/best\.ckpt"):
        typed("configure", tmp_path, ["model.weights=artifacts/train/best.ckpt"])
    typed("configure", tmp_path, ["model.weights=weights/best.ckpt"])
    assert str((tmp_path / "data/weights").readlink()) == "../weights/best.ckpt"
