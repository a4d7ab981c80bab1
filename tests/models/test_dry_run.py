"""What a network cannot take is said before training, in one line that names the key and the fix."""

import pytest
import torch
from conftest import MakeConfig, MakeInfo
from models.test_contract import CASES
from torch import nn

from seg.core.errors import ConfigError
from seg.models.base import SegmentationModel
from seg.models.build import build_model
from seg.models.dry_run import check_sizes, freeze_unused
from seg.models.semantic import SemanticModel

ENCODER = "model.network.encoder_name="
SWIN = f"{ENCODER}tu-swin_tiny_patch4_window7_224"


@pytest.fixture
def refusal(make_config: MakeConfig, make_info: MakeInfo):
    """(*overrides, size=(64, 64), batch_size=2) -> the line with which building the model, or trying it, ends."""

    def refuse(*overrides: str, size: tuple[int, int] = (64, 64), batch_size: int = 2) -> str:
        with pytest.raises(ConfigError) as error:
            check_sizes(build_model(make_config(*overrides), make_info()), 3, batch_size, [size], [size])
        return str(error.value)

    return refuse


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_option_takes_odd_sizes_without_computing_anything(name: str, make_config: MakeConfig, make_info: MakeInfo) -> None:
    # smp's Mix Transformer looks at values while it is built, and transformers' deformable attention when it runs
    with torch.device("cpu" if name.startswith(("segformer", "mask2former")) else "meta"):
        model = build_model(
            make_config(f"task={CASES[name]}", f"model={name.partition(':')[0]}", "model.scale=1.0"), make_info(background=True)
        )
    model.mean, model.std = torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)
    before = {n: t.clone() for n, t in model.state_dict().items() if n.endswith("num_batches_tracked") and t.device.type == "cpu"}
    check_sizes(model, 3, 2, [(130, 97), (64, 64)], [(37, 200)])
    assert all(torch.equal(model.state_dict()[n], t) for n, t in before.items()), "statistics were counted"
    assert model.training


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        ([f"{ENCODER}resnett18"], [f"{ENCODER}resnett18: no such encoder; did you mean resnet18"]),
        ([f"{ENCODER}tu-resnett18"], [f"{ENCODER}tu-resnett18: timm has no such model; did you mean tu-resnet18"]),
        ([f"{ENCODER}tu-resnet18.a9"], [f"{ENCODER}tu-resnet18.a9: timm's resnet18 has no weights 'a9'; it has: a1_in1k"]),
        (["model=unet", f"{ENCODER}tv-squeezenet1_1"], ["has 4 stages", "set model.network.encoder_depth=4"]),
        ([f"{ENCODER}tu-vit_tiny_patch16_224"], ["Unsupported model downsampling pattern", "model=dpt"]),
        (["model=deeplabv3plus", f"{ENCODER}densenet121"], ["dilated", "choose another one, or a model without dilation"]),
        (["model=deeplabv3plus", f"{ENCODER}tv-googlenet"], ["dilated", "a model without dilation"]),
        (["model=deeplabv3plus", f"{ENCODER}tu-legacy_seresnet18"], ["output_stride", "a model without dilation"]),
        (["model=deeplabv3plus", "model.network.encoder_depth=2"], ["depth"]),
        (["model=linknet", f"{ENCODER}mit_b0"], ["mit_b0` is not supported for Linknet"]),
        (["model=dpt", f"{ENCODER}resnet18"], [f"set {ENCODER}tu-<a ViT of timm>"]),
        (["model.weights=imgnet"], ["tu-resnet10t has no such weights (it has: imagenet)", "as in tu-resnet10t.c3_in1k"]),
        ([f"{ENCODER}tv-googlenet", "model.weights=imagenet"], ["model.weights=imagenet: ", "a download of https://", "googlenet"]),
        ([f"{ENCODER}tu-resnet10t.zz", "model.weights=imagenet"], ["has no weights 'zz'"]),
        (["+model.network.activation=nonsense"], ["does not take these arguments: Activation should be", "got nonsense"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith(("model", "+")) else "",
)
def test_a_network_that_cannot_be_built(refusal, overrides: list[str], keys: list[str]) -> None:
    line = refusal(*overrides)
    assert all(key in line for key in keys), line
    assert line.startswith("model")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("overrides", "size", "batch_size", "keys"),
    [
        (["model=deeplabv3plus"], (64, 64), 1, ["trainer.batch_size=1", "images of 64x64", "set trainer.batch_size=2"]),
        pytest.param(
            ["model=upernet"],
            (40, 50),
            1,
            ["trainer.batch_size=1", "images of 40x50 pixels (the network sees 64x64)"],
            marks=pytest.mark.slow,
        ),
        (["model=unet"], (32, 32), 1, ["trainer.batch_size=1", "set trainer.batch_size=2"]),
        (["model=linknet", "model.stride=8"], (40, 40), 2, ["model.stride=8", "divisible by 32", "set model.stride"]),
        (["model=dpt", "~model.network.dynamic_img_size"], (64, 64), 2, ["one input size", "+model.network.dynamic_img_size=true"]),
        pytest.param([SWIN], (64, 64), 2, ["one input size", "+model.network.img_size=[64,64]"], marks=pytest.mark.slow),
        (["model=pan", "model.stride=16"], (64, 64), 2, ["raise model.stride", "images of 64x64"]),
        pytest.param(["model=fpn", f"{ENCODER}tu-inception_v3"], (160, 96), 2, ["choose another model or"], marks=pytest.mark.slow),
        (["model=pspnet", f"{ENCODER}tu-inception_v3"], (96, 160), 2, ["logits of 72x136 for images of 96x160"]),
        (["+model.network.aux_params={classes: 3}"], (64, 64), 2, ["gives a tuple, expected logits"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value and value[0].startswith(("model", "+")) else "",
)
def test_images_that_a_network_cannot_take(refusal, overrides: list[str], size: tuple[int, int], batch_size: int, keys: list[str]) -> None:
    line = refusal(*overrides, size=size, batch_size=batch_size)
    assert all(key in line for key in keys), line
    assert "\n" not in line


@pytest.mark.slow
def test_swin_takes_the_size_that_the_line_names(make_config: MakeConfig, make_info: MakeInfo) -> None:
    config = make_config(SWIN, "+model.network.img_size=[64,64]")
    check_sizes(build_model(config, make_info()), 3, 2, [(64, 64)], [(64, 64)])


def test_a_batch_of_one_that_can_be_learned_from_is_taken(make_config: MakeConfig, make_info: MakeInfo) -> None:
    model = build_model(make_config("model=pspnet"), make_info())
    check_sizes(model, 3, 1, [(64, 64)], [])
    model.train()
    model.logits(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))["out"].sum().backward()


class Looks(nn.Module):
    """A network that no shape alone can run; with a part that it does not use, and one whose output has the wrong size."""

    def __init__(self, cut: int = 0) -> None:
        super().__init__()
        self.cut, self.used, self.idle = cut, nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = 1.0 if x.sum().item() >= 0 else 2.0
        return scale * self.used(x)[..., : x.shape[-1] - self.cut]


def model_of(network: nn.Module) -> SegmentationModel:
    return SemanticModel(network, lambda a, b: a.sum(), ["a", "b"], [0.0] * 3, [1.0] * 3, 1, 1.0, 0.0)


def test_a_network_that_looks_at_values_is_tried_with_zeros() -> None:
    model = model_of(Looks())
    check_sizes(model, 3, 4, [(8, 8)], [(5, 9)])
    assert freeze_unused(model, 3, (8, 8)) == ["idle.weight", "idle.bias"]
    assert [n for n, p in model.network.named_parameters() if p.requires_grad] == ["used.weight", "used.bias"]
    with pytest.raises(ConfigError, match=r"logits of 8x4 for images of 8x8, so they would lie beside"):
        check_sizes(model_of(Looks(cut=4)), 3, 4, [(8, 8)], [])


def test_what_is_frozen_gets_no_gradient_and_nothing_else_is(make_config: MakeConfig, make_info: MakeInfo) -> None:
    """PSPNet looks at three stages of its encoder: the parameters that a backward pass leaves without a gradient."""
    model = build_model(make_config("model=pspnet"), make_info())
    model.logits(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))["out"].sum().backward()
    expected = {n for n, p in model.network.named_parameters() if p.grad is None}
    assert any(n.startswith("encoder.layer4") for n in expected)
    assert set(freeze_unused(model, 3, (64, 64))) == expected
    assert freeze_unused(model, 3, (64, 64)) == []


def test_heads_of_weight_0_do_not_learn(make_config: MakeConfig, make_info: MakeInfo) -> None:
    """What a backward pass of the losses leaves without a gradient, on which DDP would wait."""
    trained, idle = (build_model(make_config("model=fcn", f"task.model.aux_weight={weight}"), make_info()) for weight in (0.4, 0))
    assert freeze_unused(trained, 3, (64, 64)) == []
    frozen = freeze_unused(idle, 3, (64, 64))
    assert frozen
    assert all(name.startswith("aux_classifier.") for name in frozen)
    assert set(frozen) == {name for name, _ in idle.network.named_parameters() if name.startswith("aux_classifier.")}
