"""The checkpoint that leaves training: whole, the same bytes for the same content, and nothing that runs when it is read."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MakeConfig, MakeInfo
from untrained import Code

from seg.configure.config import Config
from seg.core.errors import ConfigError, DataError
from seg.models.base import SegmentationModel
from seg.models.build import build_model
from seg.models.checkpoint import Checkpoint, load, restore, save
from seg.models.choice import NO_CHOICE, Choice, Compared
from seg.models.postprocess import NOTHING, Postprocess

CONVOLUTION = {"_target_": "torch.nn.Conv2d", "kernel_size": 3, "padding": 1}


@pytest.fixture(scope="module")
def current(make_config: MakeConfig) -> Config:
    """The settings of the command that reads a checkpoint; not those that it was trained with."""
    return make_config("evaluate.batch_size=3", "trainer.batch_size=5", "model=fcn8s")


@pytest.fixture
def model(make_config: MakeConfig, make_info: MakeInfo) -> SegmentationModel:
    torch.manual_seed(5)
    return build_model(make_config("loss.class_weights=inverse", network=CONVOLUTION), make_info()).eval()


@pytest.fixture
def checkpoint(model: SegmentationModel, make_config: MakeConfig, make_info: MakeInfo) -> Checkpoint:
    config = make_config("loss.class_weights=inverse", "optimizer.lr=0.0123", network=CONVOLUTION)
    return Checkpoint(model.state_dict(), config.model_dump(mode="json", by_alias=True), make_info(), 7, {"val_miou": 0.5})


def test_what_is_saved_is_loaded(tmp_path: Path, checkpoint: Checkpoint, current: Config) -> None:
    save(tmp_path / "best.ckpt", checkpoint)
    found = load(tmp_path / "best.ckpt", current.targets.allow)
    assert found.state_dict.keys() == checkpoint.state_dict.keys()
    assert all(torch.equal(found.state_dict[n], t) for n, t in checkpoint.state_dict.items())
    assert found.config == checkpoint.config
    told = replace(checkpoint.data, settings=checkpoint.config["data"])  # as files of before say it
    assert (found.data, found.epoch, found.figures) == (told, 7, {"val_miou": 0.5})
    assert found.config["optimizer"]["lr"] == 0.0123
    assert found.settings.model.network.target == "torch.nn.Conv2d"


def test_postprocessing_and_its_choice_are_kept_and_checked(tmp_path: Path, checkpoint: Checkpoint, current: Config) -> None:
    row = Compared("objects of fewer than 9 pixels are removed", "miou", 0.5, 0.6, 0.05, 0.15, True)
    choice = Choice(20, (row,), Compared("a temperature", "negative log-likelihood", 0.7, 0.5, -0.3, -0.1, True), (0.2, 0.05))
    given = replace(checkpoint, postprocess=Postprocess(1.3, least_area=9), choice=choice)
    save(tmp_path / "best.ckpt", given)
    found = load(tmp_path / "best.ckpt", current.targets.allow)
    assert (found.postprocess, found.choice) == (given.postprocess, choice)
    assert choice.lines() == ["a temperature: calibration error 0.200 -> 0.050", f"{row.what}: miou 0.500 -> 0.600"]
    content = torch.load(tmp_path / "best.ckpt", weights_only=True)
    for key, wrong in (("postprocess", {"temperature": -1.0}), ("choice", {"tried": [{"what": "x"}]}), ("choice", {"images": "many"})):
        torch.save(content | {key: wrong}, tmp_path / "wrong.ckpt")
        with pytest.raises(DataError, match="damaged"):
            load(tmp_path / "wrong.ckpt", current.targets.allow)
    torch.save({key: value for key, value in content.items() if key not in ("postprocess", "choice")}, tmp_path / "old.ckpt")
    old = load(tmp_path / "old.ckpt", current.targets.allow)
    assert (old.postprocess, old.choice) == (NOTHING, NO_CHOICE), "a checkpoint of an earlier version"


def test_the_same_content_has_the_same_bytes_under_any_name(tmp_path: Path, checkpoint: Checkpoint) -> None:
    for name in ("a/best.ckpt", "b/last.ckpt", "b/third.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save(tmp_path / name, replace(checkpoint, state_dict={n: t.clone() for n, t in checkpoint.state_dict.items()}))
    first, *others = [p.read_bytes() for p in (tmp_path / "a/best.ckpt", tmp_path / "b/last.ckpt", tmp_path / "b/third.pt")]
    assert others == [first, first]
    save(tmp_path / "a/best.ckpt", replace(checkpoint, epoch=8))
    assert (tmp_path / "a/best.ckpt").read_bytes() != first


def test_a_save_that_fails_leaves_the_file_before_it(tmp_path: Path, checkpoint: Checkpoint, current: Config) -> None:
    save(tmp_path / "best.ckpt", checkpoint)
    with pytest.raises(Exception, match="pickle"):
        save(tmp_path / "best.ckpt", replace(checkpoint, figures={"val_miou": lambda: 0.5}))  # type: ignore[dict-item]
    assert load(tmp_path / "best.ckpt", current.targets.allow).figures == {"val_miou": 0.5}
    assert [p.name for p in tmp_path.iterdir()] == ["best.ckpt"]


def test_a_restored_model_predicts_the_same(tmp_path: Path, model: SegmentationModel, checkpoint: Checkpoint, current: Config) -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(256, size=(2, 3, 37, 53)).astype(np.uint8))
    with torch.no_grad():
        model.mean.add_(20)  # nothing that the configuration or the data set's facts would give
        model.network.bias.add_(torch.tensor([0.0, 0.2, -0.1]))
    save(tmp_path / "best.ckpt", replace(checkpoint, state_dict=model.state_dict()))
    torch.manual_seed(99)
    again = restore(load(tmp_path / "best.ckpt", current.targets.allow))
    assert not again.training
    with torch.inference_mode():
        assert torch.equal(again.logits(images)["out"], model.logits(images)["out"])
    for a, b in zip(again.predict(images), model.predict(images), strict=True):
        np.testing.assert_array_equal(a.semantic, b.semantic)
        assert len(np.unique(a.semantic)) > 1


def test_a_file_with_code_is_refused_and_not_run(tmp_path: Path, checkpoint: Checkpoint, current: Config) -> None:
    content = {"format": 1, "state_dict": checkpoint.state_dict, "config": Code(tmp_path / "proof")}
    torch.save(content, tmp_path / "best.ckpt")
    with pytest.raises(DataError, match=r"best\.ckpt: is not a checkpoint of seg"):
        load(tmp_path / "best.ckpt", current.targets.allow)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [({"state_dict": {}}, "None"), ({"format": 99}, "99"), ([1, 2], "list"), (torch.zeros(2), "Tensor")],
    ids=["no-format", "later", "list", "tensor"],
)
def test_a_checkpoint_of_something_else_is_named(tmp_path: Path, content: object, found: str, current: Config) -> None:
    torch.save(content, tmp_path / "best.ckpt")
    with pytest.raises(DataError, match=rf"best\.ckpt: is not a checkpoint of format 1 \(found {found}\)"):
        load(tmp_path / "best.ckpt", current.targets.allow)


def test_files_that_cannot_be_read_are_named(tmp_path: Path, checkpoint: Checkpoint, current: Config) -> None:
    with pytest.raises(DataError, match=r"missing\.ckpt: cannot be read \(No such file or directory\); train first"):
        load(tmp_path / "missing.ckpt", current.targets.allow)
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(DataError, match=r"text\.ckpt: is not a checkpoint of seg"):
        load(tmp_path / "text.ckpt", current.targets.allow)
    save(tmp_path / "best.ckpt", checkpoint)
    (tmp_path / "cut.ckpt").write_bytes((tmp_path / "best.ckpt").read_bytes()[:-200])
    with pytest.raises(DataError, match=r"cut\.ckpt: (is not a checkpoint of seg|cannot be read)"):
        load(tmp_path / "cut.ckpt", current.targets.allow)


def test_the_list_of_allowed_modules_in_a_file_is_not_trusted(tmp_path: Path, checkpoint: Checkpoint, current: Config) -> None:
    config = checkpoint.config | {"targets": {"allow": ["os", "posix"]}}
    config["task"] = config["task"] | {"metrics": {"_target_": "os.system", "command": f"touch {tmp_path / 'done'}"}}
    save(tmp_path / "best.ckpt", replace(checkpoint, config=config))
    with pytest.raises(ConfigError, match=r"task.metrics._target_=os.system: is not in an allowed module"):
        restore(load(tmp_path / "best.ckpt", current.targets.allow))
    assert not (tmp_path / "done").exists()


def test_a_checkpoint_brings_what_decides_the_network_and_nothing_else(tmp_path: Path, checkpoint: Checkpoint, current: Config) -> None:
    """One of before: in sections that do not concern the network, and in the data's facts, keys are missing or no longer known."""
    config = copy.deepcopy(checkpoint.config)
    del config["evaluate"]["bootstrap"], config["runtime"]
    config["plots"]["colour"] = "red"
    config["forgotten"] = {"name": "x"}
    del config["trainer"]["sync_batchnorm"], config["trainer"]["ema"]["decay"]
    config["trainer"]["turbo"] = True
    save(tmp_path / "best.ckpt", replace(checkpoint, config=config))
    content = torch.load(tmp_path / "best.ckpt", weights_only=True)
    content["data"] = {name: value for name, value in content["data"].items() if name != "statistics"} | {"license": "CC0"}
    torch.save(content, tmp_path / "best.ckpt")
    found = load(tmp_path / "best.ckpt", current.targets.allow)
    assert found.config == config, "as it was trained"
    trained, now = checkpoint.config, current.model_dump(mode="json", by_alias=True)
    assert trained["model"] != now["model"]
    settings = found.settings.model_dump(mode="json", by_alias=True)
    assert {name: settings[name] for name in ("task", "model", "finetune", "loss")} == {
        n: trained[n] for n in ("task", "model", "finetune", "loss")
    }
    assert settings["trainer"] == {key: trained["trainer"][key] for key in ("accelerator", "precision", "float32_matmul", "channels_last")}
    assert settings["targets"] == now["targets"]
    assert restore(found).state_dict().keys() == checkpoint.state_dict.keys() - {"loss.weight"}, "a model that is used needs no loss"


@pytest.mark.parametrize(
    ("section", "key", "said"),
    [
        ("finetune", "frozen_norms", "finetune.frozen_norms is missing"),
        ("finetune", None, "finetune is missing"),
        ("model", "+width", "unknown key model.width"),
    ],
)
def test_settings_of_the_network_that_no_longer_fit_are_named_with_the_checkpoint(
    tmp_path: Path, checkpoint: Checkpoint, current: Config, section: str, key: str | None, said: str
) -> None:
    config = copy.deepcopy(checkpoint.config)
    if key is None:
        del config[section]
    elif key.startswith("+"):
        config[section][key[1:]] = 7
    else:
        del config[section][key]
    save(tmp_path / "best.ckpt", replace(checkpoint, config=config))
    with pytest.raises(DataError) as error:
        load(tmp_path / "best.ckpt", current.targets.allow)
    assert str(error.value).startswith(f"{tmp_path / 'best.ckpt'}: was trained with settings that this version does not take ({said}")
    assert str(error.value).endswith("; train again, or use the version that trained it")
    assert "\n" not in str(error.value)
