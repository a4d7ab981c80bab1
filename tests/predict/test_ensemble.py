"""Ensembles: the mean of all networks, and which networks cannot answer together."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from equivariant import CLASSES, Blobs, Pixels

from seg.core.errors import ConfigError
from seg.data.sample import ClassInfo, Prediction
from seg.predict.fusion import Ensemble, fuse
from seg.predict.views import Views
from seg.tiles.network import Facts


class Other(Pixels):
    """One more network, which sees the world darker."""

    facts = Facts("semantic", CLASSES, 3, 6, None)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        return super().logits(images // 2) * 2


class Fewer(Blobs):
    """An instance network that finds but the large ones, shifted in score."""

    def predict(self, images: torch.Tensor) -> list[Prediction]:
        found = []
        for p in super().predict(images):
            large = np.flatnonzero(p.scores > 0.6)
            found.append(Prediction(None, None, p.scores[large] / 2, p.categories[large], p.boxes[large] + 1, [p.masks[i] for i in large]))
        return found


IMAGES = torch.randint(256, (2, 3, 9, 14), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


def test_class_maps_are_those_of_the_mean() -> None:
    networks = [Pixels(), Other(), Pixels(lopsided=True)]
    each = torch.stack([network.logits(IMAGES) for network in networks]).double()
    by_logits, by_probabilities = (Ensemble(networks, ["a", "b", "c"], blend, 0.5) for blend in ("logits", "probabilities"))
    torch.testing.assert_close(by_logits.logits(IMAGES).double(), each.mean(0), rtol=1e-6, atol=1e-6)
    mean = each.softmax(2).mean(0)
    torch.testing.assert_close(by_probabilities.logits(IMAGES).double().exp(), mean, rtol=1e-5, atol=1e-7)
    predictions = by_probabilities.predict(IMAGES)
    assert np.array_equal(np.stack([p.semantic for p in predictions]), mean.argmax(1).numpy())
    assert np.stack([p.confidence for p in predictions]) / 65535 == pytest.approx(mean.amax(1).numpy(), abs=1e-4)
    assert by_logits.facts == Facts("semantic", CLASSES, 3, 12, None)


def test_networks_may_be_views_of_networks() -> None:
    alone = Ensemble([Pixels(), Other()], ["a", "b"], "logits", 0.5)
    views = Ensemble([Views(Pixels(), ["d4"], "logits", 0.5, 8), Views(Other(), ["flips"], "logits", 0.5, 8)], ["a", "b"], "logits", 0.5)
    assert torch.equal(alone.logits(IMAGES), views.logits(IMAGES))


def test_instances_are_fused() -> None:
    networks = [Blobs(), Fewer()]
    found = Ensemble(networks, ["a", "b"], "logits", 0.5).predict(IMAGES)
    each = [network.predict(IMAGES) for network in networks]
    for index, prediction in enumerate(found):
        expected = fuse([p[index] for p in each], 0.5)
        assert (prediction.masks, prediction.scores.tolist()) == (expected.masks, expected.scores.tolist())
        in_both = len(each[1][index].scores)
        assert len(prediction.scores) == len(each[0][index].scores) > in_both > 3
        assert prediction.scores[0] == pytest.approx(each[0][index].scores[0] * 3 / 4)
        assert prediction.scores[-1] == pytest.approx(each[0][index].scores[-1] / 2)


def test_networks_of_other_kinds_are_refused_by_file() -> None:
    class Named(Pixels):
        def __init__(self, facts: Facts) -> None:
            super().__init__()
            self.facts = facts

    def refused(**changed: object) -> str:
        with pytest.raises(ConfigError) as raised:
            Ensemble([Pixels(), Pixels(), Named(replace(Pixels.facts, **changed))], ["a.ckpt", "b.ckpt", "c.ckpt"], "logits", 0.5)
        return str(raised.value)

    turned = (CLASSES[0], CLASSES[2], CLASSES[1], CLASSES[3])
    assert refused(classes=turned).startswith("c.ckpt: calls class 1 'crack', but a.ckpt calls it 'cell';")
    assert refused(classes=CLASSES[:3]).startswith("c.ckpt: has 3 classes, but a.ckpt has 4;")
    assert refused(task="instance").startswith("c.ckpt: its task is instance, but that of a.ckpt is semantic;")
    assert refused(channels=1).startswith("c.ckpt: takes images of 1 channels, but a.ckpt of 3;")
    recoloured = Named(replace(Pixels.facts, classes=tuple(ClassInfo(c.name, (1, 2, 3)) for c in CLASSES)))
    assert Ensemble([Pixels(), recoloured], ["a", "b"], "logits", 0.5).facts.classes == CLASSES
