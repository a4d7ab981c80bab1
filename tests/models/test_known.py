"""A file builds networks and nothing else: what a stranger's checkpoint may name, hold and declare."""

import copy
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from models.test_contract import CASES, SMALLER
from untrained import CONVOLUTION, ROOT, untrained

from seg.core.errors import InputError
from seg.models import known
from seg.models.checkpoint import load, restore
from seg.models.known import NETWORKS, check_file_target, check_plain
from seg.settings.section import Target
from seg.settings.targets import locate

ALLOW: list[str] = yaml.safe_load((ROOT / "conf/config.yaml").read_text())["targets"]["allow"]

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("checkpoint") / "best.ckpt"
    untrained(path, network=CONVOLUTION)
    found: dict[str, Any] = torch.load(path, weights_only=True)
    return found


@pytest.fixture
def opened(tmp_path: Path, content: dict[str, Any]) -> Callable[..., torch.nn.Module]:
    """(change, allow) -> the model of a checkpoint that is changed so."""

    def make(change: Change, allow: list[str] = ALLOW) -> torch.nn.Module:
        changed = copy.deepcopy(content)
        given = change(changed)
        torch.save(changed if given is None else given, tmp_path / "x.ckpt")
        return restore(load(tmp_path / "x.ckpt", allow))

    return make


def test_every_network_of_the_configuration_is_known_and_is_what_it_is_called() -> None:
    networks = [yaml.safe_load(p.read_text())["network"] for p in (ROOT / "conf/model").glob("*.yaml") if p.stem != "auto"]
    assert not {network["_target_"] for network in networks} - NETWORKS
    for network in networks:
        check_file_target(Target.model_validate(network), ALLOW, "model.network", NETWORKS)
    for name in NETWORKS:
        check_file_target(Target.model_validate({"_target_": name}), ALLOW, "model.network", NETWORKS)
        assert locate(name, ALLOW, "x").__module__.partition(".")[0] == name.partition(".")[0]


@pytest.mark.slow
@pytest.mark.parametrize("option", CASES)
def test_a_checkpoint_of_every_model_opens_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    """As a stranger opens it, who has no conf/ of their own: by the closed list alone."""
    import seg

    name = option.partition(":")[0]
    saved = untrained(tmp_path / "best.ckpt", f"task={CASES[option]}", f"model={name}", *SMALLER.get(name, ()))
    monkeypatch.chdir(tmp_path)
    model = seg.load(tmp_path / "best.ckpt")
    assert [c.name for c in model.classes] == ["background", "cell", "edge"]
    restored = restore(load(tmp_path / "best.ckpt", ALLOW)).state_dict()
    assert restored.keys() == {name for name in saved.state_dict if not name.startswith("loss.")}
    assert all(torch.equal(restored[name], saved.state_dict[name]) for name in restored)


def put(where: str, value: Any) -> Change:
    """A change of a checkpoint's content: a value at a place of dotted keys."""

    def change(content: dict[str, Any]) -> None:
        *path, last = where.split(".")
        for key in path:
            content = content[key]
        content[last] = value

    return change


def shell(folder: str) -> dict[str, Any]:
    init = {"class_path": "os.mkdir", "init_args": {}}
    return {"_target_": "lightning.pytorch.cli.instantiate_class", "args": folder, "init": init}


UNET = "segmentation_models_pytorch.Unet"

PLACES = [
    *("config.loss.label_smoothing", "config.loss", "config.model.network", "config.model.network.padding", "config.task.model"),
    *("config.task.model.aux_weight", "config.task.metrics", "config.task.metrics.x", "config.model.network.bias", "config.loss.x.loss.y"),
]


@pytest.mark.parametrize("place", PLACES)
def test_no_call_runs_wherever_a_file_names_it(opened: Callable[..., Any], tmp_path: Path, place: str, content: dict[str, Any]) -> None:
    proof = tmp_path / "proof"
    gadget = shell(str(proof)) | ({"name": "ce"} if place == "config.loss" else {})
    if place.endswith("x.loss.y"):
        place, gadget = "config.loss.x", {"loss": {"y": gadget}}
    with pytest.raises(InputError) as error:
        opened(put(place, gadget))
    assert not proof.exists()
    assert "\n" not in str(error.value)
    assert "x.ckpt" in str(error.value)


@pytest.mark.parametrize(
    "network",
    [
        {"_target_": "timm.models._helpers.load_state_dict", "checkpoint_path": "near.pth", "weights_only": False},
        {"_target_": "seg.stages.configure.write", "path": "outside"},
        {"_target_": "seg.core.outputs.write_whole", "path": "proof", "content": "x"},
        {"_target_": "segmentation_models_pytorch.from_pretrained", "pretrained_model_name_or_path": "someone/model"},
        {"_target_": "segmentation_models_pytorch.Unet", "encoder_name": "tu-resnet10t", "checkpoint_path": "near.pth"},
        {"_target_": "segmentation_models_pytorch.Unet", "encoder_name": "tu-resnet10t", "pretrained_cfg": {"file": "near.pth"}},
        {"_target_": "torchvision.models.segmentation.fcn_resnet50", "pretrained_backbone": True},
        *({"_target_": UNET, "encoder_name": name} for name in ("tu-hf_hub:someone/model", "tu-local-dir:near", "../near.pth")),
        {"_target_": UNET, "aux_params": {"classes": 2, "activation": {"_target_": "torch.nn.ReLU"}}},
        {"_target_": UNET, "decoder_channels": [[[{"_target_": "seg.core.outputs.write_whole", "path": "proof", "content": "x"}]]]},
        {"_target_": UNET, "_args_": ["near.pth"]},
        {"_target_": UNET, "_partial_": True},
        {"_target_": UNET, "_recursive_": False},
        {"_target_": ["torch.nn.Conv2d"], "kernel_size": 3},
        {"_target_": "segmentation_models_pytorch.base.model.torch.hub.load", "repo_or_dir": "near"},
        {"_target_": "seg.models.build.inspect.os.system", "command": "touch proof"},
        {"_target_": "torch.nn.Conv2d", "kernel_size": 3, "padding_mode": "${oc.env:HOME}"},
        {"_target_": "torch.nn.Module"},
        {"_target_": "torch.nn.Conv2d.forward"},
        {"_target_": "torch.nn.Conv2d", "kernel_size": 2**40},
        {"_target_": "torch.nn.Conv2d", "kernel_size": float("nan")},
        {"_target_": "torch.nn.Conv2d", "kernel_size": 3, "padding": {"_target_": "torch.nn.Identity"}},
    ],
    ids=lambda network: f"{str(network['_target_']).rpartition('.')[2]}-{list(network)[-1]}",
)
def test_a_file_names_known_networks_with_plain_arguments(
    opened: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"x\.ckpt: "):
        opened(put("config.model.network", network))
    assert [p.name for p in tmp_path.iterdir()] == ["x.ckpt"]


def test_nothing_is_asked_of_a_hub(tmp_path: Path) -> None:
    untrained(tmp_path / "a.ckpt")
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    content["config"]["model"]["network"]["encoder_weights"] = "imagenet"
    content["config"]["model"]["weights"] = "imagenet"
    torch.save(content, tmp_path / "a.ckpt")
    model = restore(load(tmp_path / "a.ckpt", ALLOW))
    name = "network.segmentation_head.0.weight"
    assert torch.equal(model.state_dict()[name], content["state_dict"][name])


def test_a_users_own_class_needs_their_word(opened: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mynets.py").write_text(
        "from torch import nn\n"
        "class Wrapped(nn.Conv2d):\n"
        "    def __init__(self, in_channels: int, classes: int, extra: nn.Module, size: int):\n"
        "        super().__init__(in_channels, classes, size, padding=1)\n"
        "def launch(in_channels, classes, **more):\n"
        "    return Wrapped(in_channels, classes, None, 3)\n"
        "def deep(in_channels: int, classes: int, size: int):\n"
        "    return Wrapped(in_channels, classes, None, size)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    network = {"_target_": "mynets.Wrapped", "size": 3, "extra": {"_target_": "torch.nn.Identity"}}
    with pytest.raises(InputError, match=r"mynets\.Wrapped: is not in an allowed module"):
        opened(put("config.model.network", network))
    assert type(opened(put("config.model.network", network), [*ALLOW, "mynets"]).network).__name__ == "Wrapped"  # type: ignore[union-attr]
    for extra in (shell(str(tmp_path / "proof")), {"_target_": "seg.core.outputs.write_whole"}):
        with pytest.raises(InputError, match="a file builds only the networks that seg knows by name"):
            opened(put("config.model.network", network | {"extra": extra}), [*ALLOW, "mynets"])
    with pytest.raises(InputError, match=r"network\.size\._target_=.*: a file may give only a value here"):
        opened(put("config.model.network", network | {"size": {"_target_": "torch.nn.Identity"}}), [*ALLOW, "mynets"])
    with pytest.raises(InputError, match=r"append torch\.nn\.Bilinear to targets\.allow"):
        check_file_target(Target.model_validate({"_target_": "torch.nn.Bilinear"}), ALLOW, "x", NETWORKS)
    check_file_target(Target.model_validate({"_target_": "torch.nn.Bilinear"}), [*ALLOW, "torch.nn.Bilinear"], "x", NETWORKS)
    for word in ("lightning", "torch", "timm.models"):
        with pytest.raises(InputError, match="a file builds only"):
            opened(put("config.model.network", shell("proof")), [*ALLOW, word])


def without(key: str) -> Change:
    return lambda content: {name: value for name, value in content.items() if name != key}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        *[(without(key), "x.ckpt") for key in ("data", "epoch", "state_dict", "config", "figures")],
        (put("config", None), "holds no settings"),
        (put("config", []), "holds no settings"),
        (put("state_dict", {}), "do not fit the network"),
        (put("state_dict", {"network.bias": 3}), "holds no weights"),
        (put("state_dict", {"network.bias": torch.zeros(2)}), "mean is nothing, expected a tensor (1, 3, 1, 1)"),
        (
            put("state_dict", {"network.weight": torch.zeros(1).expand(2**20, 2**20)}),
            "have 4398047 MB by their shapes, but the file holds 0 MB",
        ),
        (put("state_dict", {"network.weight": torch.zeros(2**16, 2**16, device="meta")}), "without numbers"),
        (put("state_dict", {"network.weight": torch.zeros(3).to_sparse()}), "is torch.sparse_coo"),
        (put("figures", [torch.zeros(1).expand(2**40)]), "by their shapes"),
        (put("data.classes", []), "data are damaged: classes"),
        (put("data.classes", [{"name": "a", "color": "red"}]), "data are damaged: classes.0.color"),
        (put("data.classes", [{"name": "a", "color": [1, 2, 300]}]), "data are damaged: classes.0.color.2"),
        (put("data.channels", 10**9), "data are damaged: channels"),
        (put("data.mean", [1.0]), "1 means"),
        (put("data.mean", [float("nan")] * 3), "data are damaged: mean.0"),
        (put("data", "nothing"), "data are damaged"),
        (put("data.settings", {"range": [1, 2, 3]}), "data.range"),
        (put("config.model.stride", 10**9), "model.stride"),
        (put("config.model.scale", [10**9, 10**9]), "model.scale"),
        (put("config.seed", 10**400), "out of range"),
        (put("epoch", "seven"), "epoch"),
        (put("figures", {"miou": "high"}), "figures.miou"),
    ],
)
def test_what_a_file_declares_is_compared_before_it_is_believed(opened: Callable[..., Any], change: Change, said: str) -> None:
    with pytest.raises(InputError) as error:
        opened(change)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 800


def test_a_network_larger_than_its_weights_takes_no_memory(tmp_path: Path) -> None:
    """Of 17 GB: the shapes are compared where nothing is allocated."""
    untrained(tmp_path / "a.ckpt")
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    content["config"]["model"]["network"]["decoder_channels"] = [16384, 16384, 16384, 16384]
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(InputError, match="its weights do not fit"):
        restore(load(tmp_path / "a.ckpt", ALLOW))


def test_plain_values_are_bounded() -> None:
    many: list[Any] = [0] * 10
    for _ in range(9):
        many = [many] * 10  # a thousand million values in a hundred lists
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    ring: list[Any] = []
    ring.append(ring)
    for value in (many, deep, ring, {"a": torch.zeros(1)}, {"a": b"x"}, {"a": "x" * 10**6}, {torch.zeros(1): 1}):
        with pytest.raises(InputError, match=r"^it: holds"):
            check_plain(value, "it")
    check_plain({"a": [1, 2.5, None, True, ("x", {1: 2})]}, "it")


def test_a_compressed_file_is_told_from_its_directory(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(20_000_000))
    with pytest.raises(InputError, match=r"x\.ckpt: is not a checkpoint of seg \(is compressed, and would take 20 MB"):
        load(tmp_path / "x.ckpt", ALLOW)


def test_a_file_that_is_none_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.ckpt")
    with pytest.raises(InputError, match="is no regular file"):
        load(tmp_path / "pipe.ckpt", ALLOW)


def test_words_for_whole_libraries_are_none() -> None:
    assert {name.partition(".")[0] for name in ALLOW} <= known.LIBRARIES
