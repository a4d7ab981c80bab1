"""CamVid through an exported file: the figures of the checkpoint, from files of onnxruntime and of torch.export."""

from pathlib import Path

import pytest
import torch
from camvid import NEEDED, prepared_camvid, settings
from typed import typed

from seg.data.store import read_entries, read_info, read_sample
from seg.loading.batch import collate
from seg.metrics.semantic import SemanticMetrics
from seg.models.build import build_model
from seg.models.checkpoint import Checkpoint, load, save
from seg.predict.exported import open_exported
from seg.predict.network import CheckpointNetwork
from seg.tiles.network import Network

ROOT = Path(__file__).parents[2]
STEPS, BATCH = 25, 4

pytestmark = NEEDED


def test_the_miou_of_camvid_is_the_checkpoints(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """Over every ninth of its test images."""
    prepared = prepared_camvid(tmp_path_factory)
    config = settings("model.scale=0.5", f"paths.prepare={prepared}")
    info = read_info(prepared)
    torch.manual_seed(0)
    model = build_model(config, info)
    samples = [read_sample(prepared / "train", entry, 3) for entry in read_entries(prepared / "train")[:: 367 // (STEPS * BATCH)]]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(STEPS):  # enough to tell sky, road and buildings
        optimizer.zero_grad()
        torch.stack(list(model.losses(collate(samples[step * BATCH : (step + 1) * BATCH])).values())).sum().backward()
        optimizer.step()
    path = tmp_path / "best.ckpt"
    save(path, Checkpoint(model.state_dict(), config.model_dump(mode="json", by_alias=True), info, 1, {}))
    made = typed("export", ROOT, [str(path), f"paths.prepare={prepared}"])
    networks: list[Network] = [CheckpointNetwork(load(path, config.targets.allow), "cpu", "32-true"), open_exported(made.path, "cpu")]
    names = [c.name for c in info.classes]
    metrics = [SemanticMetrics(names) for _ in networks]
    differing = pixels = 0
    for entry in read_entries(prepared / "test")[::9]:
        batch = collate([read_sample(prepared / "test", entry, 3)])
        predictions = [network.predict(batch.images) for network in networks]
        for metric, own in zip(metrics, predictions, strict=True):
            metric.update(batch, own)
        first, second = (own[0].semantic for own in predictions)
        assert first is not None
        differing, pixels = differing + int((first != second).sum()), pixels + first.size
    wanted, given = (metric.figures()["miou"] for metric in metrics)
    print(f"mIoU {wanted:.6f} by PyTorch, {given:.6f} by onnxruntime; {differing} of {pixels} pixels differ")
    assert pixels == 26 * 360 * 480
    assert wanted > 0.1
    assert given == pytest.approx(wanted, abs=1e-4)
    assert differing <= 1e-5 * pixels
