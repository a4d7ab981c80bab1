"""Freezing, unfreezing and learning rates by group: what moves in an epoch, by how much, and what is refused."""

import copy
import functools

import pytest
import segmentation_models_pytorch as smp
import torch
from conftest import MakeConfig, MakeInfo
from torch import nn

from seg.configure.config import AT_RUN_TIME
from seg.core.errors import ConfigError
from seg.models.base import SegmentationModel
from seg.models.build import build_model
from seg.models.finetune import Plan, check_finetune, make_plan, thaws
from seg.models.settings import Finetune
from seg.settings.targets import build
from seg.training import module as parts

EPOCHS = 10


def settings(**changed: object) -> Finetune:
    nothing = {"name": "by hand", "freeze_epochs": 0, "unfreeze_every": 0, "frozen_stages": 0, "frozen_norms": False, "lr_factor": 1.0}
    return Finetune.model_validate(nothing | changed)


@functools.cache
def made() -> nn.Module:
    torch.manual_seed(0)
    return smp.Unet("resnet18", encoder_weights=None, decoder_channels=(8, 8, 8, 8, 8), classes=2)


def unet() -> nn.Module:
    return copy.deepcopy(made())


def plan_of(network: nn.Module, **changed: object) -> Plan:
    return make_plan(network, network, settings(**changed), 3, EPOCHS)


def part_of(name: str) -> str:
    """The part of the U-Net that a tensor belongs to, as its authors name it."""
    if not name.startswith("encoder."):
        return "head"
    return {"conv1": "stem", "bn1": "stem"}.get(name.split(".")[1], name.split(".")[1])


def learning(network: nn.Module) -> set[str]:
    return {part_of(name) for name, p in network.named_parameters() if p.requires_grad}


@pytest.fixture(scope="module")
def model(make_config: MakeConfig, make_info: MakeInfo) -> SegmentationModel:
    return build_model(make_config("model=unet", "model.network.decoder_channels=[8,8,8,8,8]"), make_info())


DEEP_FIRST = ["head", "layer4", "layer3", "layer2", "layer1", "stem"]


def test_stages_thaw_one_by_one_the_deepest_first() -> None:
    network = unet()
    plan = plan_of(network, freeze_epochs=2, unfreeze_every=1)
    assert [(g.name, g.epoch) for g in plan.groups] == [
        ("head", 0), ("stage5", 2), ("stage4", 3), ("stage3", 4), ("stage2", 5), ("stage1", 6)
    ]  # fmt: skip
    assert sum(len(g.parameters) for g in plan.groups) == len(list(network.parameters())), "each parameter is in one group"
    assert len({id(p) for g in plan.groups for p in g.parameters}) == len(list(network.parameters()))
    for epoch in range(EPOCHS):
        plan.start_epoch(network, epoch)
        assert learning(network) == set(DEEP_FIRST[: max(1, epoch)]), epoch
        norms = {part_of(n): m.training for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
        assert {part for part, training in norms.items() if training} == learning(network), "frozen statistics do not move"


def test_a_resumed_epoch_is_in_the_state_of_an_unbroken_one() -> None:
    network, resumed = unet(), unet()
    plan, again = (plan_of(n, freeze_epochs=1, unfreeze_every=2) for n in (network, resumed))
    for epoch in range(6):
        plan.start_epoch(network, epoch)
    again.start_epoch(resumed, 5)
    assert [p.requires_grad for p in network.parameters()] == [p.requires_grad for p in resumed.parameters()]
    assert [m.training for m in network.modules()] == [m.training for m in resumed.modules()]


def test_without_unfreeze_every_all_stages_thaw_at_once() -> None:
    network = unet()
    plan = plan_of(network, freeze_epochs=3)
    for epoch, awake in ((2, DEEP_FIRST[:1]), (3, DEEP_FIRST)):
        plan.start_epoch(network, epoch)
        assert learning(network) == set(awake)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_is_frozen_keeps_its_bytes(optimizer: str, make_config: MakeConfig) -> None:
    """Weight decay and momentum included, and after the head learned for an epoch; fused AdamW, clipped gradients."""
    network, config = unet(), make_config(f"optimizer={optimizer}", "optimizer.weight_decay=0.5", "optimizer.fused=true")
    plan = plan_of(network, freeze_epochs=1, unfreeze_every=1, lr_factor=0.5, frozen_stages=2)
    made = build(config.optimizer, config.targets.allow, "optimizer", {"params": [{"params": g.parameters} for g in plan.groups]})
    for epoch, moved in enumerate(({"head"}, {"head", "layer4"}, {"head", "layer4", "layer3"})):
        before = copy.deepcopy(network.state_dict())
        plan.start_epoch(network, epoch)
        for _ in range(2):
            made.zero_grad()
            network(torch.randn(2, 3, 32, 32)).square().mean().backward()
            nn.utils.clip_grad_norm_([p for group in made.param_groups for p in group["params"]], 1.0)
            made.step()
        changed = {part_of(n) for n, t in network.state_dict().items() if not torch.equal(t, before[n])}
        assert changed == moved


def test_frozen_norms_stay_as_they_are_while_the_rest_learns() -> None:
    network = unet()
    plan = plan_of(network, frozen_norms=True)
    before = copy.deepcopy(network.state_dict())
    made = torch.optim.SGD([{"params": g.parameters} for g in plan.groups], lr=0.1, weight_decay=0.1)
    plan.start_epoch(network, 0)
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    made.step()
    changed = {n for n, t in network.state_dict().items() if not torch.equal(t, before[n])}
    norms = {
        f"{n}.{k}" for n, m in network.encoder.named_modules(prefix="encoder") if isinstance(m, nn.BatchNorm2d) for k in m.state_dict()
    }
    assert len(norms) == 20 * 5
    assert changed.isdisjoint(norms)
    assert {n for n in network.state_dict() if n.startswith("encoder.")} - norms <= changed
    assert any(n.startswith("decoder.") and n.endswith("running_mean") for n in changed), "the decoder's statistics move"


def test_rates_fall_by_the_factor_from_group_to_group() -> None:
    plan = plan_of(unet(), lr_factor=0.5, frozen_stages=1)
    assert [(g.name, g.lr_share, g.epoch) for g in plan.groups] == [
        ("head", 1.0, 0), ("stage5", 0.5, 0), ("stage4", 0.25, 0), ("stage3", 0.125, 0), ("stage2", 0.0625, 0)
    ]  # fmt: skip
    assert plan.table(0.2)[1] == "  stage5    8.39 M parameters  lr 0.1  from epoch 1"


@pytest.mark.parametrize(
    ("scheduler", "optimizer"), [("onecycle", "sgd"), ("onecycle", "adamw"), ("cosine", "sgd"), ("poly", "adamw"), ("constant", "sgd")]
)
def test_every_scheduler_keeps_the_ratio(
    scheduler: str, optimizer: str, make_config: MakeConfig, make_info: MakeInfo, model: SegmentationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the functions that `train` hands to the module; the head's rate is that of a training with one group."""
    monkeypatch.setattr(parts, "build_model", lambda *_, **__: model)
    composed, rates = make_config(f"scheduler={scheduler}", f"optimizer={optimizer}"), []
    for factor in (1.0, 0.5):
        config = composed.model_copy(update={"finetune": settings(lr_factor=factor)})
        data = type("Data", (), {"info": make_info()})()
        module = parts.build_module(config, data, parts.make_model(config, data), parts.make_limits(config, data))
        made = module.make_optimizer(module.plan.groups)
        schedule = module.make_scheduler(made, 20)
        rows = []
        for _ in range(20):
            rows.append([group["lr"] for group in made.param_groups])
            made.step()
            schedule.step()
        rates.append(torch.tensor(rows))
    one, several = rates
    assert (one.shape[1], several.shape[1]) == (1, 6)
    torch.testing.assert_close(several, one * 0.5 ** torch.arange(6))
    assert one.max() <= config.optimizer.arguments["lr"] + 1e-9


def test_what_a_scheduler_is_given_is_known_by_name() -> None:
    assert set(AT_RUN_TIME["scheduler"]) == {"optimizer", "total_steps", "T_max", "total_iters", "max_lr"}


def test_none_is_one_group_in_the_networks_own_order() -> None:
    network = unet()
    plan = plan_of(network)
    (group,) = plan.groups
    assert all(a is b for a, b in zip(group.parameters, network.parameters(), strict=True))
    assert plan.table(0.1) == []


def test_a_detector_is_frozen_by_the_same_settings(make_config: MakeConfig, make_info: MakeInfo) -> None:
    model = build_model(make_config("task=instance"), make_info(background=True))
    plan = make_plan(model.network, model, settings(frozen_stages=2, frozen_norms=True), 3, EPOCHS)
    plan.start_epoch(model, 0)
    encoder = model.network.backbone.encoder
    assert {n.split(".")[0] for n, p in encoder.named_parameters() if p.requires_grad} == {"layer2", "layer3", "layer4"}
    assert not any(m.training for m in encoder.modules() if isinstance(m, nn.BatchNorm2d))
    assert all(p.requires_grad for n, p in model.named_parameters() if "backbone.encoder" not in n)


@pytest.mark.parametrize("option", ["freeze", "gradual", "discriminative", "frozen_stem"])
def test_the_options_of_conf_can_be_had(option: str, make_config: MakeConfig) -> None:
    finetune = make_config(f"finetune={option}").finetune
    plan = make_plan(network := unet(), network, finetune, 3, EPOCHS)
    assert finetune.name == option
    plan.start_epoch(network, EPOCHS - 1)
    assert thaws(finetune) == (option in ("freeze", "gradual"))
    assert len(learning(network)) == (4 if option == "frozen_stem" else 6)


@pytest.mark.parametrize(
    ("changed", "weights", "message"),
    [
        ({"freeze_epochs": 1}, None, r"finetune=by hand: would freeze an encoder of random weights; set model\.weights=.*finetune=none"),
        ({"frozen_stages": 1}, None, "random weights"),
        ({"frozen_norms": True}, None, "random weights"),
        ({"freeze_epochs": 10}, "imagenet", r"freeze_epochs=10: expected less than trainer\.max_epochs=10"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(changed: dict, weights: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_finetune(settings(**changed), weights, EPOCHS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"freeze_epochs": 1, "unfreeze_every": 3}, r"would learn from epoch 14, but trainer\.max_epochs=10; set trainer\.max_epochs=14"),
        ({"frozen_stages": 6}, r"finetune\.frozen_stages=6: expected at most 5"),
    ],
)
def test_settings_that_do_not_fit_the_encoder_are_refused(changed: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of(unet(), **changed)


def test_the_last_epoch_is_not_too_late_and_the_frozen_stages_are_not_waited_for() -> None:
    assert plan_of(unet(), freeze_epochs=5, unfreeze_every=1).groups[-1].epoch == EPOCHS - 1
    assert plan_of(unet(), freeze_epochs=1, unfreeze_every=8, frozen_stages=3).groups[-1].epoch == EPOCHS - 1
    assert [g.name for g in plan_of(unet(), frozen_stages=5, lr_factor=0.5).groups] == ["head"]


def test_a_network_without_an_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"finetune=by hand: needs a network with an encoder"):
        plan_of(nn.Conv2d(3, 2, 1), lr_factor=0.5)


def test_nothing_is_refused_from_scratch_where_nothing_is_frozen() -> None:
    check_finetune(settings(lr_factor=0.5), None, EPOCHS)
