"""The fully convolutional network against the classifier that it is made of, and against bilinear interpolation."""

from pathlib import Path

import pytest
import torch
from conftest import MakeConfig, MakeInfo
from models.test_contract import SMALLER
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VGG, VGG16_Weights
from torchvision.models.vgg import cfgs, make_layers

from seg.core.errors import ConfigError
from seg.models.build import build_model
from seg.models.fcn import FCN, BilinearUpsampling
from seg.models.weights import load_weights, read_weights

BLOCKS = [4, 4, "M", 8, 8, "M", 16, 16, 16, "M", 32, 32, 32, "M", 32, 32, 32, "M"]  # VGG-16 at a sixteenth of its width
STRIDES = {32: [], 16: [1.0], 8: [1.0, 1.0]}


def narrow(stride: int, skip_scales: list[float] | None = None, **changed: object) -> FCN:
    given = {"width": 1 / 16, "fc_channels": 24, "batch_norm": False, "dropout": 0.5, "learn_last_upsampling": False}
    given |= {"in_channels": 3, "num_classes": 3}
    return FCN(stride, STRIDES[stride] if skip_scales is None else skip_scales, **(given | changed)).eval()


def classifier() -> VGG:
    """torchvision's VGG-16 at a sixteenth of its width, for ten classes, with random weights."""
    features = make_layers(BLOCKS)
    with torch.device("meta"):  # its own dense layers are large
        vgg = VGG(features, init_weights=False)
    layers = [nn.Linear(32 * 49, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 10)]
    vgg.classifier = nn.Sequential(*layers)
    for parameter in vgg.parameters():
        nn.init.kaiming_normal_(parameter) if parameter.ndim > 1 else nn.init.normal_(parameter, std=0.1)
    return vgg.eval()


@pytest.fixture
def converted(tmp_path: Path) -> tuple[FCN, VGG]:
    """The network with the classifier's weights, taken from a file, and the classifier."""
    torch.manual_seed(0)
    vgg, network = classifier(), narrow(8)
    torch.save(vgg.state_dict(), tmp_path / "vgg16.pth")
    of_all = len(network.state_dict())
    loaded = load_weights(network, read_weights(tmp_path / "vgg16.pth"), 3)
    assert (len(loaded.loaded), len(loaded.names)) == (2 * 13 + 2 * 2, of_all)
    return network, vgg


def class_scores(network: FCN, vgg: VGG, image: Tensor) -> Tensor:
    """What the classifier's last layer makes of each cell of the converted layers' map (1, 10, h, w)."""
    cells = network.classifier(network.features(image))
    return vgg.classifier[6](cells.movedim(1, -1)).movedim(-1, 1)


@torch.no_grad()
def test_the_converted_layers_give_the_classifiers_own_output(converted: tuple[FCN, VGG]) -> None:
    network, vgg = converted
    image = torch.randn(1, 3, 224, 224)
    scores, wanted = class_scores(network, vgg, image), vgg(image)
    assert scores.shape == (1, 10, 7, 7)
    assert wanted.std() > 0.1
    torch.testing.assert_close(scores[:, :, 3, 3], wanted)


@torch.no_grad()
def test_on_a_larger_image_each_cell_is_the_classifier_on_its_window(converted: tuple[FCN, VGG]) -> None:
    """With padded convolutions a window cut from an image is not what it is within it; without, it is, and is 404 pixels large."""
    network, vgg = converted
    for layer in (*network.features, *vgg.features):
        if isinstance(layer, nn.Conv2d):
            layer.padding = (0, 0)
    image = torch.randn(1, 3, 404 + 32, 404 + 64)
    scores = class_scores(network, vgg, image)[:, :, 3:-3, 3:-3]
    assert scores.shape == (1, 10, 2, 3)
    for row in range(2):
        for column in range(3):
            window = image[:, :, 32 * row : 32 * row + 404, 32 * column : 32 * column + 404]
            torch.testing.assert_close(scores[:, :, row, column], vgg(window))


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_upsampling_starts_as_bilinear_interpolation(factor: int) -> None:
    layer = BilinearUpsampling(2, factor)
    places = torch.arange(5.0)
    ramps = torch.stack([places.expand(4, 5), 10 * torch.arange(4.0)[:, None].expand(4, 5)])[None]
    upsampled = layer(ramps)
    assert upsampled.shape == (1, 2, 4 * factor, 5 * factor)
    inside = slice(factor // 2, -(factor // 2))
    wanted = (torch.arange(5 * factor) + 0.5) / factor - 0.5  # the cells' centres are factor pixels apart
    torch.testing.assert_close(upsampled[0, 0, :, inside], wanted[inside].expand(4 * factor, -1))
    torch.testing.assert_close(upsampled[0, 1, inside, 0], 10 * wanted[: 4 * factor][inside])
    noise = torch.randn(2, 2, 3, 4)
    torch.testing.assert_close(layer(noise), F.interpolate(noise, scale_factor=factor, mode="bilinear"), atol=1e-5, rtol=1e-5)


def randomized(network: FCN) -> FCN:
    with torch.no_grad():
        for parameter in network.scores.parameters():
            nn.init.normal_(parameter)
    return network


def larger(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear")


@torch.no_grad()
def test_scores_of_the_pools_are_added_from_coarse_to_fine() -> None:
    torch.manual_seed(0)
    network, image = randomized(narrow(8, [0.5, 0.25])), torch.randn(2, 3, 64, 96)
    pool3 = network.features[:17](image)
    pool4 = network.features[17:24](pool3)
    fc7 = network.classifier(network.features[24:](pool4))
    assert [t.shape[-1] for t in (pool3, pool4, fc7)] == [12, 6, 3]
    at16 = larger(network.scores["fc7"](fc7), 2) + network.scores["pool4"](0.5 * pool4)
    at8 = larger(at16, 2) + network.scores["pool3"](0.25 * pool3)
    torch.testing.assert_close(network(image), larger(at8, 8), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stride", STRIDES)
def test_all_scores_start_at_zero_and_only_the_last_upsampling_may_be_fixed(stride: int) -> None:
    network = narrow(stride)
    assert not network(torch.randn(1, 3, 32, 64)).any()
    fixed = [name for name, p in network.named_parameters() if not p.requires_grad]
    assert fixed == [f"upsampling.by_{stride}.weight"]
    assert all(p.requires_grad for p in narrow(stride, learn_last_upsampling=True).parameters())


@torch.no_grad()
def test_a_finer_network_takes_all_of_a_coarser_ones_checkpoint_and_starts_with_its_predictions(
    tmp_path: Path, make_config: MakeConfig, make_info: MakeInfo, capsys: pytest.CaptureFixture[str]
) -> None:
    image, path = torch.randn(1, 3, 64, 64), tmp_path / "best.ckpt"

    def make(stride: int, *overrides: str) -> tuple[FCN, Tensor]:
        """The network, and the scores that its last upsampling is given."""
        name, seen = f"fcn{stride}s", []
        network = build_model(make_config(f"model={name}", *SMALLER[name], *overrides), make_info()).network.eval()
        network.upsampling[network.last].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        network(image)
        return network, seen[0]

    coarse, _ = make(32)
    for stride in (16, 8):
        randomized(coarse)
        state = coarse.state_dict()
        torch.save({"format": 1, "state_dict": {f"network.{n}": t for n, t in state.items()} | {"mean": torch.zeros(3)}}, path)
        seen: list[Tensor] = []
        coarse.upsampling[coarse.last].register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        coarse(image)
        network, scores = make(stride, f"model.weights={path}")
        common = {n for n in state if not n.startswith("upsampling.by_")}
        assert f"weights: {len(common)} of the network's {len(network.state_dict())} tensors" in capsys.readouterr().out
        assert all(torch.equal(network.state_dict()[n], state[n]) for n in common)
        assert seen[0].std() > 0.1
        torch.testing.assert_close(scores, larger(seen[0], 2))
        coarse = network


@pytest.mark.parametrize("channels", [3, 1])
def test_a_hubs_weights_start_all_but_the_scores(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seg.models.fcn.PAPER_FC_CHANNELS", 8)
    torch.manual_seed(0)
    features = make_layers(cfgs["D"])
    state = {f"features.{n}": t for n, t in features.state_dict().items()}
    for number, layer in (("0", nn.Linear(512 * 49, 8)), ("3", nn.Linear(8, 8)), ("6", nn.Linear(8, 1000))):
        state |= {f"classifier.{number}.{n}": t for n, t in layer.state_dict().items()}
    monkeypatch.setattr(VGG16_Weights, "get_state_dict", lambda self, **_: dict(state))
    network = narrow(32, width=1.0, fc_channels=8, in_channels=channels, weights="IMAGENET1K_V1")
    taken = network.state_dict()
    first = state.pop("features.0.weight")
    torch.testing.assert_close(taken["features.0.weight"], first if channels == 3 else first.sum(dim=1, keepdim=True))
    assert all(torch.equal(taken[n], t) for n, t in state.items() if not n.startswith("classifier.6"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.network.skip_scales=[1.0]"], r"model\.network\.skip_scales=\[1\.0\]: expected 2 numbers with prediction_stride=8"),
        (["model.weights=IMAGENET1K_V1"], r"are of a whole VGG-16; set model\.network\.width=1\.0"),
        (["model.weights=IMAGENET1K_V2", "model.network.width=1.0", "model.network.fc_channels=4096"], r"did you mean 'IMAGENET1K_V1'"),
        (["model.weights=IMAGENET1K_FEATURES", "model.network.width=1.0", "model.network.fc_channels=4096"], "weights of this model"),
    ],
    ids=["skips", "width", "name", "no-classifier"],
)
def test_settings_that_contradict_each_other_are_named(
    overrides: list[str], message: str, make_config: MakeConfig, make_info: MakeInfo
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model(make_config("model=fcn8s", *SMALLER["fcn8s"], *overrides), make_info())
