"""A sum of losses: its terms by name, from the configuration to the history."""

import shutil
from pathlib import Path

import pytest
import torch
from conftest import ROOT, MakeConfig, MakeInfo
from labelled_logits import PIXELS, logits_and_labels
from torch import nn

from seg.configure.compose import compose
from seg.configure.config import check_signatures, checked
from seg.core.errors import ArgumentError, ConfigError
from seg.loading.batch import Batch
from seg.models.build import build_model
from seg.models.losses import CrossEntropy, Dice, Sum
from seg.models.losses.sum import Term
from seg.models.semantic import SemanticModel
from seg.settings.targets import build
from seg.training.step.step import named_losses

CONVOLUTION = {"_target_": "torch.nn.Conv2d", "kernel_size": 1}


def test_each_term_has_its_weight_and_those_of_weight_0_are_left_out() -> None:
    ce, dice = CrossEntropy("none", 0.0, PIXELS), Dice("median", PIXELS)
    terms = {"a": Term(weight=0.5, loss=ce), "b": Term(weight=2, loss=dice), "c": Term(weight=0, loss=ce)}
    logits, semantic = logits_and_labels()
    given = Sum(terms)(logits, semantic)
    assert {n: v.item() for n, v in given.items()} == {"a": 0.5 * ce(logits, semantic).item(), "b": 2 * dice(logits, semantic).item()}
    assert list(Sum(terms).state_dict()) == ["losses.b.weight"]


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({}, r"^terms: expected at least one with a weight above 0$"),
        ({"a": Term(weight=0, loss=nn.Identity())}, r"^terms: expected at least one with a weight above 0$"),
        (
            {"a": Term(weight=1, loss=torch.add)},
            r"^terms\.a\.loss: expected one loss, a torch\.nn\.Module, got builtin_function_or_method$",
        ),
        (
            {"a": Term(weight=1, loss=Sum({"b": Term(weight=1, loss=nn.Identity())}))},
            r"^terms\.a\.loss: expected one loss, a torch\.nn\.Module, got Sum$",
        ),
    ],
    ids=["none", "no-weight", "function", "sum"],
)
def test_what_is_no_sum_is_refused(terms: dict[str, Term], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Sum(terms)


def test_a_weight_that_rises_is_that_of_the_epoch() -> None:
    """Kervadec et al.: the boundary's weight goes up by 0.01 an epoch, here while the other's goes down to 0."""
    logits, semantic = logits_and_labels()
    ce, dice = CrossEntropy("none", 0.0, PIXELS), Dice("none", PIXELS)
    total = Sum({"ce": Term(weight=0.5, rise=-0.2, loss=ce), "dice": Term(weight=0, rise=0.01, loss=dice)})
    model = SemanticModel(nn.Identity(), total, ["a", "b", "c", "d"], [0.0] * 4, [1.0] * 4, 1, 1.0, 0.0)
    for epoch, weights in ((0, (0.5, 0)), (1, (0.3, 0.01)), (2, (0.1, 0.02)), (7, (0, 0.07)), (1, (0.3, 0.01))):
        model.start_epoch(epoch)
        terms = total(logits, semantic)
        expected = [w * loss(logits, semantic).item() for w, loss in zip(weights, (ce, dice), strict=True)]
        assert [terms[name].item() for name in ("ce", "dice")] == pytest.approx(expected, rel=1e-6)


def test_mistakes_that_show_when_it_is_built_name_their_key(make_config: MakeConfig, make_info: MakeInfo) -> None:
    for overrides, message in (
        (["loss.terms.dice.loss.class_weights=[1,2]"], r"^loss\.terms\.dice\.loss\.class_weights=\[1\.0, 2\.0\]: expected 3 weights"),
        (["loss.terms.ce.weight=0", "loss.terms.dice.weight=0"], r"^loss\.terms: expected at least one with a weight above 0$"),
    ):
        with pytest.raises(ConfigError, match=message):
            build_model(make_config("loss=ce_dice", *overrides, network=CONVOLUTION), make_info())


def test_an_option_of_ones_own_takes_in_others_and_a_librarys_loss(tmp_path: Path) -> None:
    """As docs/reference.md has it."""
    text = (ROOT / "docs/reference.md").read_text()
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "conf/loss/mine.yaml").write_text(text.partition("# conf/loss/mine.yaml: ")[2].partition("```")[0].partition("\n")[2])
    config = checked(compose(tmp_path / "conf", ["loss=mine"])[0])
    check_signatures(config)
    loss = build(config.loss, config.targets.allow, "loss", {"class_counts": PIXELS})
    logits, semantic = logits_and_labels(occurring=4)
    terms = loss(logits.float(), semantic)
    assert list(terms) == ["ce", "lovasz", "log_dice"]
    assert terms["ce"].item() == CrossEntropy("median", 0.0, PIXELS)(logits, semantic).item()
    assert 0 < terms["log_dice"] < 5


def test_each_term_is_known_by_its_name(make_config: MakeConfig, make_info: MakeInfo) -> None:
    focal = "{weight:3,loss:{_target_:seg.models.losses.Focal,gamma:1.0,class_weights:none}}"
    config = make_config("loss=ce_dice", "loss.terms.dice.weight=0.5", f"+loss.terms.focal={focal}", network=CONVOLUTION)
    model = build_model(config, make_info())
    images = torch.randint(256, (2, 3, 8, 8), dtype=torch.uint8)
    batch = Batch(images, images[:, 0] % 3, [], [], [], [], [], [], [(8, 8)] * 2, ["a", "b"])
    named = {name: value.item() for name, value in named_losses(model, batch).items()}
    assert list(named) == ["loss", "ce_term", "dice_term", "focal_term"]
    assert named["loss"] == pytest.approx(sum(list(named.values())[1:]))
    logits = model.logits(batch.images)["out"]
    assert named["dice_term"] == pytest.approx(0.5 * Dice("none", [1] * 3)(logits, batch.semantic).item())
