"""Weights to start from: local files, and what is said where there is no network."""

import logging
import math
from pathlib import Path

import pytest
import segmentation_models_pytorch
import timm
import torch
from conftest import MakeConfig, MakeInfo
from torch import nn
from untrained import Code

from seg.core.errors import ConfigError
from seg.models.build import build_model
from seg.models.weights import Loaded, load_weights, read_weights


class Network(nn.Module):
    """A network with an encoder of four tensors and a head of two."""

    def __init__(self, seed: int, width: int = 8, classes: int = 3, encoder: str = "encoder", channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.add_module(encoder, nn.Sequential(nn.Conv2d(channels, width, 3), nn.Conv2d(width, width, 3)))
        self.head = nn.Conv2d(width, classes, 1)


def same(a: nn.Module, b: nn.Module) -> bool:
    mine, other = a.state_dict(), b.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[n], other[n]) for n in mine)


def load(network: nn.Module, path: Path, channels: int = 3) -> Loaded:
    return load_weights(network, read_weights(path), channels)


@pytest.mark.parametrize("part", ["encoder", "backbone"])
def test_an_encoders_file_fills_the_encoder_alone(tmp_path: Path, part: str) -> None:
    donor, network, untouched = Network(1, encoder=part), Network(2, encoder=part), Network(2, encoder=part)
    path = tmp_path / "encoder.pth"
    torch.save(getattr(donor, part).state_dict(), path)
    assert load(network, path).summary().splitlines() == [
        f"weights: 4 of the network's 6 tensors from {path}",
        "  not in the file, so initialised anew: head (2)",
    ]
    assert same(getattr(network, part), getattr(donor, part))
    assert same(network.head, untouched.head)


@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto", "densenet121"])
def test_timms_own_names_fill_an_encoder_of_timm(tmp_path: Path, name: str) -> None:
    """As timm saves a network; where it only gives features, it names parts of a sequence otherwise (stages.0, stages_0)."""
    network = segmentation_models_pytorch.Unet(f"tu-{name}", 4, None, decoder_channels=(64, 32, 16, 16))
    given = timm.create_model(name).state_dict()
    torch.save(given, tmp_path / "timm.pt")
    loaded = load_weights(network, read_weights(tmp_path / "timm.pt"), 3)
    filled = {n: t for n, t in network.encoder.state_dict().items() if not n.endswith("num_batches_tracked")}
    assert loaded.loaded == {f"encoder.{n}" for n in filled}
    sums = sorted(float(t.double().sum()) for t in given.values())
    assert all(any(math.isclose(float(t.double().sum()), s, abs_tol=1e-9) for s in sums) for t in filled.values())


@pytest.mark.parametrize("wrap", ["plain", "state_dict", "model", "module.", "model.", "checkpoint"])
def test_a_whole_networks_file_fills_the_network(tmp_path: Path, wrap: str) -> None:
    donor, network = Network(1), Network(2)
    state = donor.state_dict()
    contents = {
        "plain": state,
        "state_dict": {"state_dict": state, "epoch": 3},
        "model": {"model": state},
        "module.": {f"module.{n}": t for n, t in state.items()},
        "model.": {"state_dict": {f"model.{n}": t for n, t in state.items()}},
        "checkpoint": ours(donor),
    }
    path = tmp_path / "network.pth"
    torch.save(contents[wrap], path)
    assert load(network, path).summary() == f"weights: 6 of the network's 6 tensors from {path}"
    assert same(network, donor)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "net.", "module.model.", "module._orig_mod.student.net."])
def test_what_wrapped_a_network_when_it_was_saved_does_not_matter(tmp_path: Path, prefix: str) -> None:
    donor, network = Network(1), Network(2)
    path = tmp_path / "network.pth"
    torch.save({f"{prefix}{name}": tensor for name, tensor in donor.state_dict().items()} | {"optimizer.step": torch.ones(1)}, path)
    load(network, path)
    assert same(network, donor)


def test_parts_of_a_network_that_were_compiled_are_found(tmp_path: Path) -> None:
    donor, network = Network(1), Network(2)
    path = tmp_path / "network.pth"
    torch.save({name.replace("encoder.", "encoder._orig_mod."): tensor for name, tensor in donor.state_dict().items()}, path)
    load(network, path)
    assert same(network, donor)


def ours(network: nn.Module, mean: float = 90.0, std: float = 30.0, channels: int = 3) -> dict:
    """What the checkpoint of a training holds, as far as it concerns weights."""
    numbers = {"mean": torch.full((1, channels, 1, 1), mean), "std": torch.full((1, channels, 1, 1), std), "loss.weight": torch.ones(3)}
    return {"format": 1, "state_dict": numbers | {f"network.{n}": t for n, t in network.state_dict().items()}}


@pytest.mark.parametrize("part", ["encoder", "backbone"])
def test_an_encoder_is_found_in_another_networks_file(tmp_path: Path, part: str) -> None:
    """As of a U-Net for an FCN, or of a semantic network for a detector."""
    donor, network, untouched = Network(1, encoder="encoder"), Network(2, encoder=part), Network(2, encoder=part)
    path = tmp_path / "other.ckpt"
    content = ours(donor)
    content["state_dict"] = {n.replace("head", "segmentation_head"): t for n, t in content["state_dict"].items()}
    torch.save(content, path)
    assert load(network, path).summary().splitlines() == [
        f"weights: 4 of the network's 6 tensors from {path}",
        "  not in the file, so initialised anew: head (2)",
        "  in the file alone, not used: segmentation_head (2)",
    ]
    assert same(getattr(network, part), donor.encoder)
    assert same(network.head, untouched.head)


def test_a_head_for_other_classes_is_initialised_anew_and_listed(tmp_path: Path) -> None:
    donor, network, untouched = Network(1, classes=7), Network(2), Network(2)
    path = tmp_path / "network.pth"
    torch.save(donor.state_dict() | {"extra.a": torch.zeros(1), "extra.b": torch.zeros(1)}, path)
    assert load(network, path).summary().splitlines() == [
        f"weights: 4 of the network's 6 tensors from {path}",
        "  of another shape, so initialised anew: head.weight (7, 8, 1, 1) -> (3, 8, 1, 1), head.bias (7,) -> (3,)",
        "  in the file alone, not used: extra (2)",
    ]
    assert same(network.encoder, donor.encoder)
    assert same(network.head, untouched.head)


def test_a_long_list_is_cut_by_module_and_by_number() -> None:
    names = {f"decoder.block{i}.conv{j}.weight" for i in range(9) for j in range(4)} | {"head.weight", "head.bias"}
    loaded = {n for n in names if n.endswith("conv0.weight")} | {f"decoder.block8.conv{j}.weight" for j in range(4)}
    summary = Loaded(Path("f"), loaded, names - loaded, set(), names, set()).summary()
    assert summary.splitlines() == [
        "weights: 12 of the network's 38 tensors from f",
        "  not in the file, so initialised anew: decoder.block0.conv1 (1), decoder.block0.conv2 (1), decoder.block0.conv3 (1), "
        "decoder.block1.conv1 (1), decoder.block1.conv2 (1), decoder.block1.conv3 (1), and 19 more",
    ]


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_first_layer_for_other_channels_is_adapted(tmp_path: Path, channels: int) -> None:
    """From gray to RGB each channel gets a third, as timm has it; other convolutions must fit."""
    donor, network = Network(1, channels=1), Network(2, channels=channels)
    path = tmp_path / "gray.pth"
    torch.save(donor.state_dict(), path)
    said = load(network, path, channels).summary()
    assert ("adapted to the images: encoder.0.weight, from 1 to" in said) == (channels != 1)
    assert said.startswith("weights: 6 of the network's 6 tensors")
    gray = torch.randn(2, 1, 9, 9)
    torch.testing.assert_close(network.encoder(gray.expand(-1, channels, -1, -1)), donor.encoder(gray))


def test_a_file_of_which_nothing_fits_is_refused(tmp_path: Path) -> None:
    for number, content in enumerate([Network(1, width=5, classes=4).state_dict(), {"other": torch.zeros(3)}, [torch.zeros(3)], {}]):
        path = tmp_path / f"{number}.pth"
        torch.save(content, path)
        with pytest.raises(ConfigError, match=r"model\.weights=.*no tensor of it fits.* there, encoder\.0\.weight \(8, 3, 3, 3\) here"):
            load(Network(2), path)


def test_a_file_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path, proof = tmp_path / "weights.pth", tmp_path / "proof"
    torch.save({"encoder": Code(proof)}, path)
    with pytest.raises(ConfigError, match="expected a file of tensors alone"):
        load(Network(2), path)
    assert not proof.exists()


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.weights=.*missing\.pth: cannot be read \(No such file"):
        load(Network(2), tmp_path / "missing.pth")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(ConfigError, match="expected a file of tensors alone"):
        load(Network(2), tmp_path / "text.pth")


def test_model_weights_starts_the_encoder_from_a_file(
    tmp_path: Path, make_config: MakeConfig, make_info: MakeInfo, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["model=unet", "model.network.decoder_channels=[8,8,8,8,8]"]
    path = tmp_path / "resnet18.pth"
    donor = build_model(make_config(*small), make_info()).network
    torch.save(donor.encoder.state_dict(), path)
    torch.manual_seed(1)
    network = build_model(make_config(*small, f"model.weights={path}"), make_info()).network
    said = capsys.readouterr().out.splitlines()
    assert said[1:] == ["  not in the file, so initialised anew: decoder (50), segmentation_head (2)"]
    assert said[0].startswith("weights: 100 of the network's 152 tensors from ")
    assert same(network.encoder, donor.encoder)
    assert not same(network.decoder, donor.decoder)
    assert not same(build_model(make_config(*small, f"model.weights={path}"), make_info(), pretrained=False).network.encoder, donor.encoder)


def test_a_hub_that_cannot_be_reached_names_both_ways_out(make_config: MakeConfig, make_info: MakeInfo) -> None:
    with pytest.raises(ConfigError) as caught:
        build_model(make_config("model=unet", "model.weights=imagenet"), make_info())
    message = str(caught.value)
    assert message.startswith("model.weights=imagenet: could not be downloaded")
    assert "model.weights=null" in message
    assert "model.weights=<local file>" in message


@pytest.mark.parametrize(
    ("overrides", "weights"),
    [
        (["model=fcn"], "IMAGENET1K_V2"),
        (["model=fcn8s"], "IMAGENET1K_V1"),
        (["task=instance", "model=maskrcnn_resnet50_fpn_v2"], "COCO_V1"),
    ],
    ids=["torchvision", "its classifier", "its detector"],
)
def test_a_download_that_breaks_off_names_both_ways_out(
    overrides: list[str],
    weights: str,
    make_config: MakeConfig,
    make_info: MakeInfo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line says it, not one for each attempt: the hub's client warns of these."""
    client, levels = logging.getLogger("huggingface_hub"), list[int]()
    monkeypatch.setattr(client, "level", logging.WARNING)

    def broken(*_: object, **__: object) -> None:
        levels.append(client.level)
        raise OSError("connection reset")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", broken)
    said = rf"(?s)weights={weights}: could not be downloaded \(OSError: connection reset\).*model\.weights=null.*local file"
    with pytest.raises(ConfigError, match=said):
        build_model(make_config(*overrides, f"model.weights={weights}"), make_info(background=True))
    assert (levels, client.level) == ([logging.ERROR], logging.WARNING)


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        ("unet", r"model\.weights=imagenett: resnet18 has no such weights \(it has: imagenet, ssl, swsl\)"),
        ("fcn", r"imagenett.*\(with model\.weights=imagenett\)"),
    ],
)
def test_weights_of_an_unknown_name_are_named(model: str, answer: str, make_config: MakeConfig, make_info: MakeInfo) -> None:
    with pytest.raises(ConfigError, match=answer):
        build_model(make_config(f"model={model}", "model.weights=imagenett"), make_info())


def test_a_network_without_weights_by_name_is_refused(make_config: MakeConfig, make_info: MakeInfo) -> None:
    config = make_config("model.weights=imagenet", network={"_target_": "torch.nn.Conv2d", "kernel_size": 1})
    with pytest.raises(ConfigError, match=r"model\.weights=imagenet: torch\.nn\.Conv2d has no weights by name; set model\.weights=null"):
        build_model(config, make_info())


SMALL = ["model=unet", "model.network.decoder_channels=[8,8,8,8,8]"]


def test_a_checkpoints_normalisation_is_kept_where_asked_for(
    tmp_path: Path, make_config: MakeConfig, make_info: MakeInfo, capsys: pytest.CaptureFixture[str]
) -> None:
    donor = build_model(make_config(*SMALL), make_info()).network
    path = tmp_path / "best.ckpt"
    torch.save(ours(donor), path)
    from_data = build_model(make_config(*SMALL, f"model.weights={path}"), make_info(classes=4))
    said = capsys.readouterr().out
    assert "normalisation: dataset; model.normalization=checkpoint keeps the one that these weights learned with" in said
    assert "segmentation_head.0.weight (3, 8, 3, 3) -> (4, 8, 3, 3)" in said
    assert from_data.mean.flatten().tolist() == [100.0, 110.0, 120.0]
    for channels in (1, 3):
        kept = build_model(make_config(*SMALL, f"model.weights={path}", "model.normalization=checkpoint"), make_info(channels=channels))
        assert kept.mean.flatten().tolist() == [90.0] * channels
        assert kept.std.flatten().tolist() == [30.0] * channels
    assert "normalisation" not in capsys.readouterr().out


def test_normalisation_of_a_checkpoint_needs_one(tmp_path: Path, make_config: MakeConfig, make_info: MakeInfo) -> None:
    with pytest.raises(ConfigError, match=r"normalization=checkpoint: needs model\.weights=<a checkpoint .*got None"):
        build_model(make_config(*SMALL, "model.normalization=checkpoint"), make_info())
    torch.save(ours(Network(1)), tmp_path / "best.ckpt")
    config = make_config(*SMALL, f"model.weights={tmp_path / 'best.ckpt'}", "model.normalization=checkpoint")
    with pytest.raises(ConfigError, match=r"normalization=checkpoint: is for 3 channels, but data\.channels=5"):
        build_model(config, make_info(channels=5))
    build_model(make_config(*SMALL, "model.normalization=checkpoint"), make_info(), pretrained=False)  # whose state dict comes next


def test_a_file_that_leaves_the_encoder_untrained_is_not_frozen(tmp_path: Path, make_config: MakeConfig, make_info: MakeInfo) -> None:
    state = build_model(make_config(*SMALL), make_info()).network.state_dict()
    torch.save({n: t for n, t in state.items() if not n.startswith("encoder.layer4.1")}, tmp_path / "part.pth")
    build_model(make_config(*SMALL, f"model.weights={tmp_path / 'part.pth'}"), make_info())
    with pytest.raises(
        ConfigError, match=r"part\.pth: lacks 6 tensors of the encoder \(encoder\.layer4\.1\.conv1\.weight.*finetune=freeze"
    ):
        build_model(make_config(*SMALL, f"model.weights={tmp_path / 'part.pth'}", "finetune=freeze"), make_info())


def test_the_licence_of_a_hubs_weights_is_told(monkeypatch: pytest.MonkeyPatch, make_config: MakeConfig, make_info: MakeInfo) -> None:
    """timm's own word of them; the tensors that it would download are drawn."""
    monkeypatch.setattr("timm.models._builder.load_pretrained", lambda *_, **__: None)
    for encoder, licence in (("tu-convnextv2_atto", "cc-by-nc-4.0"), ("tu-resnet10t", "apache-2.0")):
        told: list[str] = []
        name = f"model.network.encoder_name={encoder}"
        build_model(make_config("model=fpn", name, "model.weights=imagenet"), make_info(), say=told.append)
        assert told == [f"weights: imagenet; their licence, as timm tells it: {licence}"]
    build_model(make_config("model=fpn", name), make_info(), say=told.append)
    assert len(told) == 1, "from scratch there are none"
