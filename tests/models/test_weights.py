"""Weights to start from: local files, and what is said where there is no network."""

import os
from pathlib import Path

import pytest
import torch
from conftest import MakeConfig, MakeInfo
from torch import nn

from seg.errors import ConfigError
from seg.models.build import build_model
from seg.models.weights import load_local


class Network(nn.Module):
    """A network with an encoder of four tensors and a head of two."""

    def __init__(self, seed: int, width: int = 8, classes: int = 3, encoder: str = "encoder") -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.add_module(encoder, nn.Sequential(nn.Conv2d(3, width, 3), nn.Conv2d(width, width, 3)))
        self.head = nn.Conv2d(width, classes, 1)


def same(a: nn.Module, b: nn.Module) -> bool:
    mine, other = a.state_dict(), b.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[n], other[n]) for n in mine)


@pytest.mark.parametrize("part", ["encoder", "backbone"])
def test_an_encoders_file_fills_the_encoder_alone(tmp_path: Path, part: str) -> None:
    donor, network, untouched = Network(1, encoder=part), Network(2, encoder=part), Network(2, encoder=part)
    path = tmp_path / "encoder.pth"
    torch.save(getattr(donor, part).state_dict(), path)
    assert load_local(network, path) == f"weights: 4 of the 4 tensors of the {part} from {path}"
    assert same(getattr(network, part), getattr(donor, part))
    assert same(network.head, untouched.head)


@pytest.mark.parametrize("wrap", ["plain", "state_dict", "model", "checkpoint"])
def test_a_whole_networks_file_fills_the_network(tmp_path: Path, wrap: str) -> None:
    donor, network = Network(1), Network(2)
    state = donor.state_dict()
    contents = {
        "plain": state,
        "state_dict": {"state_dict": state, "epoch": 3},
        "model": {"model": state},
        "checkpoint": {"format": 1, "state_dict": {"mean": torch.zeros(3)} | {f"network.{n}": t for n, t in state.items()}},
    }
    path = tmp_path / "network.pth"
    torch.save(contents[wrap], path)
    assert load_local(network, path) == f"weights: 6 of the 6 tensors of the network from {path}"
    assert same(network, donor)


def test_tensors_of_another_shape_are_left_out_and_counted(tmp_path: Path) -> None:
    donor, network, untouched = Network(1, classes=7), Network(2), Network(2)
    path = tmp_path / "network.pth"
    torch.save(donor.state_dict(), path)
    assert load_local(network, path) == f"weights: 4 of the 6 tensors of the network from {path}"
    assert same(network.encoder, donor.encoder)
    assert same(network.head, untouched.head)


def test_a_file_of_which_nothing_fits_is_refused(tmp_path: Path) -> None:
    for number, content in enumerate([Network(1, width=5, classes=4).state_dict(), {"other": torch.zeros(3)}, [torch.zeros(3)], {}]):
        path = tmp_path / f"{number}.pth"
        torch.save(content, path)
        with pytest.raises(ConfigError, match=r"model\.weights=.*no tensor of it fits"):
            load_local(Network(2), path)


class Code:
    """Unpickling this makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


def test_a_file_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path, proof = tmp_path / "weights.pth", tmp_path / "proof"
    torch.save({"encoder": Code(proof)}, path)
    with pytest.raises(ConfigError, match="expected a file of tensors alone"):
        load_local(Network(2), path)
    assert not proof.exists()


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.weights=.*missing\.pth: cannot be read \(No such file"):
        load_local(Network(2), tmp_path / "missing.pth")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(ConfigError, match="expected a file of tensors alone"):
        load_local(Network(2), tmp_path / "text.pth")


def test_model_weights_starts_the_encoder_from_a_file(
    tmp_path: Path, make_config: MakeConfig, make_info: MakeInfo, capsys: pytest.CaptureFixture[str]
) -> None:
    small = "model.network.decoder_channels=[8,8,8,8,8]"
    path = tmp_path / "resnet18.pth"
    donor = build_model(make_config(small), make_info()).network
    torch.save(donor.encoder.state_dict(), path)
    count = len(donor.encoder.state_dict())
    torch.manual_seed(1)
    network = build_model(make_config(small, f"model.weights={path}"), make_info()).network
    assert capsys.readouterr().out == f"weights: {count} of the {count} tensors of the encoder from {path}\n"
    assert same(network.encoder, donor.encoder)
    assert not same(network.decoder, donor.decoder)
    assert not same(build_model(make_config(small, f"model.weights={path}"), make_info(), pretrained=False).network.encoder, donor.encoder)


def test_a_hub_that_cannot_be_reached_names_both_ways_out(make_config: MakeConfig, make_info: MakeInfo) -> None:
    with pytest.raises(ConfigError) as caught:
        build_model(make_config("model.weights=imagenet"), make_info())
    message = str(caught.value)
    assert message.startswith("model.weights=imagenet: could not be downloaded")
    assert "model.weights=null" in message
    assert "model.weights=<local file>" in message


def test_a_download_that_breaks_off_names_both_ways_out(
    make_config: MakeConfig, make_info: MakeInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("connection reset")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", broken)
    with pytest.raises(
        ConfigError, match=r"(?s)weights=IMAGENET1K_V2: could not be downloaded \(OSError: connection reset\).*weights=null"
    ):
        build_model(make_config("model=fcn", "model.weights=IMAGENET1K_V2"), make_info())


@pytest.mark.parametrize("model", ["unet", "fcn"])
def test_weights_of_an_unknown_name_are_named(model: str, make_config: MakeConfig, make_info: MakeInfo) -> None:
    with pytest.raises(ConfigError, match=r"imagenett.*\(with model\.weights=imagenett\)"):
        build_model(make_config(f"model={model}", "model.weights=imagenett"), make_info())


def test_a_network_without_weights_by_name_is_refused(make_config: MakeConfig, make_info: MakeInfo) -> None:
    config = make_config("model.weights=imagenet", network={"_target_": "torch.nn.Conv2d", "kernel_size": 1})
    with pytest.raises(ConfigError, match=r"model\.weights=imagenet: torch\.nn\.Conv2d has no weights by name; set model\.weights=null"):
        build_model(config, make_info())
