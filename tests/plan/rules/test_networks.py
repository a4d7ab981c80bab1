"""Networks that a plan may choose."""

import pytest
from planned_facts import chosen, draft, facts

from seg.plan.rules.networks import CANDIDATES, candidates, network


@pytest.mark.parametrize(
    ("task", "device", "encoders"),
    [
        ("semantic", "cpu", ["tu-resnet10t", "resnet18"]),
        ("semantic", "cuda", ["resnet18", "resnet34", "resnet50"]),
        ("semantic", "mps", ["resnet18", "resnet34", "resnet50"]),
        ("instance", "cpu", ["resnet18"]),
        ("instance", "mps", ["resnet18", "resnet50"]),
        ("detection", "cuda", ["resnet18", "resnet50"]),
        ("panoptic", "cuda", ["resnet18", "resnet50"]),
    ],
)
def test_candidates_from_small_to_large(task: str, device: str, encoders: list[str]) -> None:
    found = candidates(facts(task=task, device=device), draft())
    assert [c.network["encoder_name"] for c in found] == encoders
    assert (found[0].least_steps, found[0].least_passes) == (0, 0)  # one is always there
    assert [c.least_steps for c in found] == sorted(c.least_steps for c in found)


@pytest.mark.parametrize("candidate", [c for found in CANDIDATES.values() for c in found], ids=lambda c: c.key)
def test_a_candidate_s_own_keys(candidate: object) -> None:
    found = chosen(network, facts(), draft(), candidate, "because")
    assert found == {"model.network": candidate.network, "model.name": candidate.key, "model.stride": candidate.stride}  # type: ignore[attr-defined]
    if "encoder_depth" in found["model.network"]:
        assert found["model.stride"] == 2 ** found["model.network"]["encoder_depth"]
        assert len(found["model.network"]["decoder_channels"]) == found["model.network"]["encoder_depth"]
