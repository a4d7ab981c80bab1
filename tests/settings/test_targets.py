"""`_target_`: only what is defined in an allowed module, with arguments that its signature has."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from seg.core.errors import ConfigError
from seg.data.store import ClassCounts
from seg.settings.section import Target
from seg.settings.targets import build, check_arguments, locate, nested

ALLOW = ["seg", "torch.nn", "torch.optim", "segmentation_models_pytorch"]


def target(path: str, **arguments: Any) -> Target:
    return Target(_target_=path, **arguments)


def test_a_name_gives_the_class_or_function() -> None:
    from seg.models.losses import CrossEntropy

    assert locate("seg.models.losses.CrossEntropy", ALLOW, "loss") is CrossEntropy
    assert locate("torch.nn.Conv2d", ALLOW, "x") is torch.nn.Conv2d, "defined in torch.nn.modules.conv, which lies below torch.nn"
    assert locate("torch.optim.lr_scheduler.OneCycleLR", ALLOW, "x") is torch.optim.lr_scheduler.OneCycleLR
    assert locate("torch.nn.Conv2d.forward", ALLOW, "x") is torch.nn.Conv2d.forward


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.eval", "subprocess.run", "torch.load", "torch.nnx.Conv2d", "segx.a", "seg", "system"]
)
def test_names_outside_of_the_allowed_modules_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^model\._target_={name}: is not in an allowed module \(seg, .*append it to targets\.allow"):
        locate(name, ALLOW, "model")


def test_nothing_outside_of_the_allowed_modules_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stranger.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="not in an allowed module"):
        locate("stranger.Thing", ALLOW, "model")
    with pytest.raises(SystemExit, match="imported"):
        locate("stranger.Thing", [*ALLOW, "stranger"], "model")


@pytest.mark.parametrize(
    "name",
    [
        "seg.settings.targets.import_module",
        "seg.data.store.csv.reader",
        "seg.core.scratch.shutil.rmtree",
        "seg.core.scratch.os.system",
        "seg.settings.targets.inspect.os.system",
        "seg.data.sample.np.load",
        "torch.nn.Conv2d.__class__",
        "seg.core.errors.nearest.__globals__.get",
        "torch.nn.Conv2d.__init__.__globals__.__getitem__",
        "seg.core.scratch.Path",
    ],
)
def test_what_an_allowed_module_merely_imports_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^model\._target_={name}: is defined in [\w.]+, which is not an allowed module"):
        locate(name, ALLOW, "model")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("seg.models.losses.CrossEntrpy", r"seg\.models\.losses has no 'CrossEntrpy'; did you mean 'CrossEntropy'\?"),
        ("torch.nn.Conv2dd", r"torch\.nn has no 'Conv2dd'; did you mean 'Conv2d'\?"),
        ("seg.nowhere.losses.CrossEntropy", "seg has no 'nowhere'"),
        ("seg.data.sample.IGNORE", "is not a class or function"),
        ("torch.nn.functional", "is not a class or function"),
    ],
)
def test_a_slip_is_answered_with_the_nearest_name(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^loss._target_={name}: {message}$"):
        locate(name, ALLOW, "loss")


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"there is no module notinstalled; pip install it, or correct the name"):
        locate("notinstalled.Thing", ["notinstalled"], "model.network")
    (tmp_path / "needy.py").write_text("import notinstalled.deeper\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"model\.network\._target_=needy\.Thing: needs the package notinstalled; pip install it"):
        locate("needy.Thing", ["needy"], "model.network")


def test_an_allowed_module_of_the_users_own_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/__init__.py").write_text("")
    (tmp_path / "mine/nets.py").write_text("def tiny(classes: int, depth: int = 2):\n    return classes, depth\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert build(target("mine.nets.tiny", depth=3), ["mine"], "model.network", {"classes": 5, "in_channels": 1}) == (5, 3)
    sys.modules.pop("mine.nets")


UNET = "segmentation_models_pytorch.Unet"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (UNET, {"encoder_nam": "resnet18"}, r"unknown key model\.network\.encoder_nam: did you mean 'encoder_name'\?"),
        ("torch.nn.Conv2d", {"kernel_size": 3, "pading": 1}, r"unknown key model\.network\.pading: did you mean 'padding'\?"),
        ("torch.nn.Conv2d", {"kernel_size": 3, "zzz": 1}, r"unknown key model\.network\.zzz: arguments of torch\.nn\.Conv2d: bias, device"),
        ("torch.nn.Conv2d", {"kernel_size": 3, "in_channels": 3}, r"model\.network\.in_channels: is known from the data; leave it out"),
        ("torch.nn.Conv2d", {}, r"model\.network\.kernel_size is missing: torch\.nn\.Conv2d needs it"),
    ],
)
def test_arguments_are_compared_with_the_signature(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_arguments(target(name, **arguments), ALLOW, "model.network", ("in_channels", "out_channels", "classes"))


def test_arguments_that_fit_pass() -> None:
    given = ("in_channels", "out_channels", "classes")
    check_arguments(target("torch.nn.Conv2d", kernel_size=3, padding=1), ALLOW, "model.network", given)
    check_arguments(target(UNET, encoder_name="resnet18", drop_path_rate=0.1), ALLOW, "model.network", given)  # it takes **kwargs
    check_arguments(target("torch.optim.SGD", name="sgd", lr=0.1), ALLOW, "optimizer", ("params",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_weights": "none", "label_smoothing": "much"}, r"loss\.label_smoothing='much': expected .*number.*, got str"),
        ({"class_weights": 3, "label_smoothing": 0.0}, r"loss\.class_weights=3: expected 'none', 'inverse' or 'median', got int"),
        ({"class_weights": [1.0, -2.0], "label_smoothing": 0.0}, r"loss\.class_weights\.1=-2\.0: expected greater than or equal to 0"),
    ],
)
def test_types_of_our_own_arguments_are_compared(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_arguments(target("seg.models.losses.CrossEntropy", **arguments), ALLOW, "loss", ("class_counts",))


def test_building_passes_what_the_signature_names() -> None:
    layer = build(
        target("torch.nn.Conv2d", name="an option's name", kernel_size=3), ALLOW, "x", {"in_channels": 2, "out_channels": 5, "classes": 9}
    )
    assert layer.weight.shape == (5, 2, 3, 3)
    assert list(build(target("torch.nn.ParameterList"), ALLOW, "x", {}, [torch.ones(1)])[0]) == [1]


def test_a_refusal_of_the_target_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^optimizer: torch\.optim\.SGD does not take these arguments: Invalid learning rate: -1$"):
        build(target("torch.optim.SGD", lr=-1), ALLOW, "optimizer", {"params": [torch.ones(1)]})
    for smoothing, weights, message in (
        (2, "none", r"^loss\.label_smoothing=2: expected less than 1, got int$"),
        (0, [1.0, 2.0], r"^loss\.class_weights=\[1\.0, 2\.0\]: expected 1 weights, one a class, got 2$"),
    ):
        loss = target("seg.models.losses.CrossEntropy", class_weights=weights, label_smoothing=smoothing)
        with pytest.raises(ConfigError, match=message):
            build(loss, ALLOW, "loss", {"class_counts": ClassCounts([1], [1])})


def nest(**changed: Any) -> Target:
    """A call with one in its argument's dict of dicts, and two in a list."""
    layer = {"_target_": "torch.nn.Linear", "out_features": 2} | changed
    return target("torch.nn.ParameterDict", parameters={"a": {"b": layer}, "c": [1, layer, {"_target_": "torch.nn.ReLU"}]})


def test_nested_targets_are_built_from_the_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shell.py").write_text("def same(parameters):\n    return parameters\n")
    monkeypatch.syspath_prepend(tmp_path)
    outer = target("shell.same", **nest().arguments)
    given = build(outer, ["shell", *ALLOW], "x", {"in_features": 3})
    assert given["a"]["b"].weight.shape == (2, 3)
    assert given["c"][0] == 1
    assert given["c"][1].weight.shape == (2, 3)
    assert isinstance(given["c"][2], torch.nn.ReLU)
    assert outer.arguments == nest().arguments, "the configuration itself stays as it is"


def test_nested_targets_are_found_by_their_keys() -> None:
    assert {key: t.target.rpartition(".")[2] for key, t in nested(nest(), "x")} == {
        "x": "ParameterDict",
        "x.parameters.a.b": "Linear",
        "x.parameters.c[1]": "Linear",
        "x.parameters.c[2]": "ReLU",
    }


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"_target_": "os.system"}, r"x\.parameters\.a\.b\._target_=os\.system: is not in an allowed module"),
        ({"_target_": "torch.nn.Linea"}, r"x\.parameters\.a\.b\._target_=torch\.nn\.Linea: torch\.nn has no 'Linea'"),
        ({"_target_": None}, r"x\.parameters\.a\.b\._target_=None: expected the name of a class or function"),
        ({"out_features": "many"}, r"x\.parameters\.a\.b\.out_features='many': expected integer, got str"),
    ],
)
def test_what_is_wrong_with_a_nested_target_is_said_with_its_key(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        build(nest(**changed), ALLOW, "x", {"in_features": 3})


def test_our_own_arguments_arrive_in_their_type() -> None:
    focal = target("seg.models.losses.Focal", gamma=2, class_weights=[1, 2])
    given = build(focal, ALLOW, "loss", {"class_counts": ClassCounts([1, 1], [2, 2])})
    assert isinstance(given.gamma, float)
    assert given.weight.tolist() == [1.0, 2.0]
