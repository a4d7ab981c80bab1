"""Networks of transformers: the same answers as the library's own, weights both ways, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MakeConfig, MakeInfo
from torch import nn

from seg.core.errors import ConfigError
from seg.models.build import build_model, with_architecture
from seg.models.finetune import make_plan
from seg.models.known import check_file_target
from seg.models.masks.architecture import LICENCES, architecture_of, configuration
from seg.models.masks.networks import QueryNetwork, query_network
from seg.models.settings import Finetune
from seg.settings.section import Target

transformers = pytest.importorskip("transformers")
RESNET = {"model_type": "resnet", "embedding_size": 16, "hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 1, 1], "layer_type": "basic"}
SWIN = {"model_type": "swin", "embed_dim": 24, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 2], "window_size": 4}
NARROW = {"feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "dim_feedforward": 32, "num_attention_heads": 4}
VIT = {"hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": 64, "patch_size": 8, "num_blocks": 2}
KINDS: dict[str, dict[str, Any]] = {
    "resnet": {
        "model_type": "mask2former",
        "backbone_config": RESNET,
        "encoder_layers": 1,
        "decoder_layers": 3,
        "num_queries": 6,
        **NARROW,
    },
    "swin": {"model_type": "mask2former", "backbone_config": SWIN, "encoder_layers": 1, "decoder_layers": 3, "num_queries": 6, **NARROW},
    "eomt": {"model_type": "eomt", "num_queries": 6, **VIT},
    "eomt_dinov3": {"model_type": "eomt_dinov3", "num_queries": 6, "intermediate_size": 96, **VIT},
}


def saved(kind: str, folder: Path, num_labels: int = 3) -> nn.Module:
    """The library's own network, as it writes it."""
    torch.manual_seed(0)
    config = configuration(KINDS[kind], num_labels, 3)
    found = {"mask2former": "Mask2FormerForUniversalSegmentation", "eomt": "EomtForUniversalSegmentation"}
    network: Any = getattr(transformers, found.get(config.model_type, "EomtDinov3ForUniversalSegmentation"))(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    network.save_pretrained(folder)
    return network


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_transformers_give_its_outputs_and_ours_load_there(kind: str, tmp_path: Path) -> None:
    """The largest difference of all, over the four kinds: 0."""
    theirs, x = saved(kind, tmp_path / "theirs"), torch.randn(2, 3, 64, 64)
    ours = query_network({"model_type": KINDS[kind]["model_type"]}, 4, 3, str(tmp_path / "theirs")).eval()
    ours.get_submodule("transformer").save_pretrained(tmp_path / "ours")  # type: ignore[operator]
    again = type(theirs).from_pretrained(tmp_path / "ours").eval()
    with torch.no_grad():
        given, wanted, back = ours(x), theirs(pixel_values=x), again(pixel_values=x)
    assert len(given["classes"]) == 1
    for found, name in ((given["classes"][-1], "class_queries_logits"), (given["masks"][-1], "masks_queries_logits")):
        assert (found - wanted[name]).abs().max() == 0 == (back[name] - wanted[name]).abs().max()
    assert "weights: " in ours.remarks[0]
    assert f"licence: {LICENCES[KINDS[kind]['model_type']]}" in ours.remarks[1]
    assert ("no commercial use" in ours.remarks[1]) == (theirs.config.model_type == "mask2former")


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_any_size_are_seen_and_all_layers_speak_in_training(kind: str) -> None:
    torch.manual_seed(0)
    network = query_network(KINDS[kind], 4, 3)
    found = network(torch.randn(1, 3, 96, 128))
    assert len(found["classes"]) == len(found["masks"]) == 3
    side = 4 if KINDS[kind]["model_type"] == "mask2former" else 2
    assert found["masks"][-1].shape == (1, 6, 96 // side, 128 // side)
    assert len(network.eval()(torch.randn(1, 3, 96, 128))["classes"]) == 1


def test_weights_for_other_classes_and_channels_are_adapted(tmp_path: Path, make_config: MakeConfig, make_info: MakeInfo) -> None:
    saved("eomt", tmp_path / "w")
    for kind in ("eomt_small", "mask2former_small"):
        config = make_config("task=semantic", f"model={kind}", f"model.weights={tmp_path / 'w'}")
        if kind == "mask2former_small":
            with pytest.raises(ConfigError, match=r"are of eomt, but model.network.architecture.model_type=mask2former"):
                build_model(config, make_info())
            continue
        told: list[str] = []
        model = build_model(config, make_info(classes=5, channels=1), say=told.append)
        assert "class_predictor" in told[0]
        assert "licence: EoMT's own (tue-mps/*_eomt_*): MIT, over DINOv2 (Apache-2.0); of other weights: their authors'" in told[1]
        assert "of another shape, so initialised anew" in told[0]
        assert model.predict(torch.zeros(1, 1, 40, 48, dtype=torch.uint8))[0].semantic is not None
        settled = with_architecture(config)
        assert settled.model.network.arguments["architecture"] == architecture_of(tmp_path / "w", "w")
        alone = query_network(settled.model.network.arguments["architecture"], 6, 1)  # type: ignore[arg-type]
        assert {n: t.shape for n, t in alone.state_dict().items()} == {n: t.shape for n, t in model.network.state_dict().items()}


def test_a_configuration_beside_weights_cannot_ask_for_code(tmp_path: Path) -> None:
    """Keys that make the library download are left out; a file of pickles is not read."""
    saved("eomt", tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    evil = {
        "attn_implementation": "someone/kernel",
        "_attn_implementation": "someone/kernel",
        "auto_map": {"AutoModel": "someone/code--x.Y"},
    }
    (tmp_path / "config.json").write_text(json.dumps(content | evil))
    assert not architecture_of(tmp_path, "w").keys() & evil.keys()
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"expected config.json and model\*.safetensors"):
        query_network({"model_type": "eomt"}, 4, 3, str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        query_network({"model_type": "eomt"}, 4, 3, str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match="are of bert, expected one of mask2former, eomt"):
        query_network({"model_type": "eomt"}, 4, 3, str(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bert"}, r"model.network.architecture.model_type=bert: expected one of mask2former"),
        ({"num_querys": 3}, r"unknown key model.network.architecture.num_querys: did you mean 'num_queries'"),
        ({"_attn_implementation": "someone/kernel"}, r"unknown key model.network.architecture._attn_implementation"),
        ({"backbone_config": RESNET | {"model_type": "timm_backbone"}}, r"backbone_config.model_type=timm_backbone: expected one of swin"),
        ({"backbone_config": RESNET | {"use_pretrained_backbone": True}}, r"unknown key .*backbone_config.use_pretrained_backbone"),
        ({"hidden_dim": "wide"}, r"transformers does not take it"),
    ],
)
def test_other_architectures_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        query_network(KINDS["resnet"] | change, 4, 3)


def test_a_file_may_name_an_architecture_but_no_call() -> None:
    name = "seg.models.masks.networks.query_network"
    target = Target.model_validate({"_target_": name, "architecture": KINDS["resnet"]})
    check_file_target(target, ["seg"], "model.network", {name})
    target = Target.model_validate({"_target_": name, "architecture": {"model_type": {"_target_": "os.system"}}})
    with pytest.raises(ConfigError, match="may give only a value here, not a call"):
        check_file_target(target, ["seg"], "model.network", {name})


@pytest.mark.parametrize(("kind", "stages"), [("resnet", 5), ("swin", 5), ("eomt", 5)])
def test_encoders_have_stages_that_are_frozen_and_learn_at_rates_of_their_own(kind: str, stages: int) -> None:
    network = query_network(KINDS[kind], 4, 3)
    settings = Finetune(name="x", freeze_epochs=0, unfreeze_every=0, frozen_stages=2, frozen_norms=False, lr_factor=0.5)
    plan = make_plan(network, network, settings, 3, 10)
    assert [(g.name, g.lr_share) for g in plan.groups] == [("head", 1.0), ("stage5", 0.5), ("stage4", 0.25), ("stage3", 0.125)]
    frozen = {n for n, p in network.named_parameters() if not p.requires_grad}
    assert max(network.encoder_stages().values(), default=0) <= stages
    assert any("embed" in n for n in frozen)
    assert not any("query" in n or "class_predictor" in n or "decoder" in n for n in frozen)


def test_without_the_package_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"needs the package transformers; pip install -e '.\[transformers\]'"):
        query_network(KINDS["eomt"], 4, 3)


def test_it_is_a_query_network() -> None:
    assert isinstance(query_network(KINDS["eomt"], 4, 3), QueryNetwork)
