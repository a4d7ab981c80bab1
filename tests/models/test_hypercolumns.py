"""Hypercolumns against the columns themselves."""

import pytest
import torch
from torch.nn import functional as F

from seg.core.errors import ConfigError
from seg.models.hypercolumns import Hypercolumns


@pytest.mark.parametrize("stages", [[1, 2, 3], [3, 1]], ids=str)
@torch.no_grad()
def test_summed_scores_are_a_linear_classifier_of_the_concatenated_features(stages: list[int]) -> None:
    torch.manual_seed(0)
    network, image = Hypercolumns("resnet18", 3, stages, 3, 4).eval(), torch.randn(2, 3, 32, 40)
    features = network.encoder(image)
    columns = torch.cat([F.interpolate(features[stage], (32, 40), mode="bilinear") for stage in stages], dim=1)
    weight = torch.cat([classifier.weight for classifier in network.classifiers], dim=1)
    wanted = F.conv2d(columns, weight, network.classifiers[0].bias)
    assert wanted.std() > 0.1
    torch.testing.assert_close(network(image), wanted, atol=1e-5, rtol=1e-5)
    assert [c.bias is not None for c in network.classifiers] == [True] + [False] * (len(stages) - 1)


@pytest.mark.parametrize("stages", [[], [0, 1], [1, 6], [2, 2]], ids=str)
def test_stages_that_do_not_exist_are_named(stages: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"model\.network\.stages=\[.*\]: expected some of \[1, 2, 3\], the stages of resnet18"):
        Hypercolumns("resnet18", 3, stages, 3, 2)
    with pytest.raises(ConfigError, match=r"expected some of \[2, 3\], the stages of mit_b0"):
        Hypercolumns("mit_b0", 3, [1, 2], 3, 2)
