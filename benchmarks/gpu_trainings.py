"""Steps of gpu.py that train, evaluate, predict and export as a user does: interruptions, short memory, files, large images, ranks."""

import csv
import gc
import io
import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from gpu_bench import SHORT, Bench, Figures, Strike, check, short_memory, signalled

from seg.core.outputs import write_whole
from seg.data.imagefile import encode_png
from seg.predict.api import Predictor, predictor_of, settings_of
from seg.stages import evaluate, predict, train
from seg.stages import export as exporting

AS_ONE = 0.02
"""How far the last loss of a resumed training may lie from an unbroken one's on a GPU, whose sums have no fixed order."""


def training(bench: Bench) -> Figures:
    found: Figures = {}
    for precision in ("bf16-mixed", *(() if bench.cpu else ("16-mixed",))):
        config = bench.config(f"trainer.precision={precision}", "trainer.gradient_clip=0.5", "trainer.max_epochs=3")
        codes, _ = bench.train(config, bench.folder / f"unbroken-{precision}")
        check(codes == [0], f"{precision}: the training failed")
        codes, said = bench.train(config, bench.folder / f"broken-{precision}", strike=Strike(5, signal.SIGTERM))
        check(signalled(codes[0]) and "Traceback" not in said, f"{precision}: SIGTERM ended it with exit code {codes[0]}")
        codes, said = bench.train(config, bench.folder / f"resumed-{precision}")
        check(codes == [0] and "resuming an interrupted run" in said, f"{precision}: it did not go on after SIGTERM")
        found[precision] = _same_end(bench, f"unbroken-{precision}", f"resumed-{precision}")
    model = bench.folder / "resumed-bf16-mixed/best.ckpt"
    image = _image(bench, 128)
    maps = [_predictor(model, f"predict.accelerator={device}").predict(image).semantic for device in (bench.accelerator, "cpu")]
    same = float(np.mean(maps[0] == maps[1]))
    check(same > 0.99, f"reloaded on the CPU it predicts other classes: {same:.4f} are the same")
    return found | {"the same classes on the CPU": same}


def memory(bench: Bench) -> Figures:
    """What runs out of memory is repeated with fewer images at once, and says so."""
    checkpoint, images = bench.checkpoint(), bench.folder / "images"
    os.environ["SEG_SCRATCH"] = str(bench.folder / "scratch")
    for number in range(8):
        write_whole(images / f"{number}.png", encode_png(_image(bench, 64 if bench.cpu else 512, number)))
    once = "trainer.max_epochs=1"
    trained = bench.config(once, "trainer.batch_size=8")
    searched = bench.config(once, "trainer.batch_size=auto", "trainer.effective_batch_size=8")
    evaluated = bench.config(f"paths.train={checkpoint.parent}", "evaluate.bootstrap.resamples=0", "evaluate.num_overlays=0")
    given = predict.Arguments([checkpoint], [str(images)], (), bench.folder / "predicted", force=True)
    works: dict[str, Callable[[], Any]] = {
        "train": lambda: train.run(trained, bench.folder / "trained"),  # type: ignore[arg-type]
        "evaluate": lambda: evaluate.run(evaluated, bench.folder / "evaluated"),  # type: ignore[arg-type]
        "predict": lambda: predict.run(Path.cwd(), given),
        "auto": lambda: train.run(searched, bench.folder / "searched"),  # type: ignore[arg-type]
    }
    half = {} if bench.cpu else {name: _taken(work) // 2 for name, work in works.items()}
    if bench.cpu:
        short_memory("cpu", 0)
    found: Figures = {}
    for name, work in works.items():
        if half:
            short_memory("gpu", half[name])
        said = _said(work)
        halved = re.search(r"(\d+) images at once", said)
        check(bool(halved) and ("out of memory" in said or name == "auto"), f"{name}: did not run out of memory")
        assert halved
        check(0 < int(halved[1]) < 8, f"{name}: {halved[0]}")
        found[name] = halved[0]
    check(len(list((bench.folder / "predicted/classes").glob("*.png"))) == 8, "predict: not every image has its classes")
    return found


def export(bench: Bench) -> Figures:
    checkpoint, image = bench.checkpoint(), _image(bench, 96)
    expected = _predictor(checkpoint, f"predict.accelerator={bench.accelerator}").predict(image).semantic
    out = bench.folder / "model.onnx"
    exporting.run(Path.cwd(), exporting.Arguments(checkpoint, [f"out={out}"]))
    same = float(np.mean(_predictor(out, "predict.accelerator=cpu").predict(image).semantic == expected))
    check(same > 0.99, f"{out.name} predicts other classes on the CPU: {same:.4f} are the same")
    return {f"{out.name} on cpu": same}


def tiles(bench: Bench) -> Figures:
    checkpoint = bench.checkpoint()
    side, tile = (256, 64) if bench.cpu else (8192, 512)
    image, options = _image(bench, side), [f"predict.tile={tile}", "predict.tiling.overlap=0.25"]
    predictor = _predictor(checkpoint, f"predict.accelerator={bench.accelerator}", *options)
    on_cpu = _predictor(checkpoint, "predict.accelerator=cpu", *options)
    cut = image[: 2 * tile, : 2 * tile]
    same = float(np.mean(predictor.predict(cut).semantic == on_cpu.predict(cut).semantic))
    check(same > 0.99, f"other classes than on the CPU: {same:.4f} are the same")
    start = time.perf_counter()
    taken = _taken(lambda: predictor.predict(image))
    seconds = time.perf_counter() - start
    whole = 4 * len(predictor.classes) * side**2
    check(bench.cpu or taken < whole, f"it took {taken / 2**30:.2f} GiB, and the scores of the whole image are {whole / 2**30:.2f} GiB")
    return {"megapixels/s": side**2 / seconds / 1e6, "GiB": taken / 2**30, "the same classes on the CPU": same}


def ranks(bench: Bench) -> Figures:
    apart = not bench.cpu and torch.cuda.device_count() < 2
    places = ["trainer.devices=1", "trainer.num_nodes=2"] if apart else ["trainer.devices=2"]
    given = ["trainer=ddp", *places, "trainer.batch_size=4", "trainer.max_epochs=3"]
    cases = {"alone": ["trainer.sync_batchnorm=false"]}
    if not bench.cpu:
        cases |= {"synchronised": ["trainer.sync_batchnorm=true"]}
        cases |= {"compiled": ["trainer.sync_batchnorm=true", "trainer.compile=true"]}
    found: Figures = {}
    for name, overrides in cases.items():
        codes, said = bench.train(bench.config(*given, *overrides), bench.folder / name, ranks=2)
        check(codes == [0, 0] and "uncompiled" not in said, f"{name}: the ranks ended with exit codes {codes}")
        waited = re.search(r"waits of the third step: (\d+)", said)
        assert waited
        found[f"waits, {name}"] = waited[1]
    automatic = bench.config(*given, "trainer.batch_size=auto", "trainer.effective_batch_size=16")
    codes, said = bench.train(automatic, bench.folder / "automatic", ranks=2, **{SHORT: str(300 * 2**20)})
    size = re.search(r"batch_size=auto: (\d+) images at once", said)
    check(codes == [0, 0] and bool(size), f"automatic batch size: the ranks ended with exit codes {codes}")
    assert size
    check(int(size[1]) < 8, f"automatic batch size: {size[1]} of 8 images, though rank 1 has less memory")
    config, start = bench.config(*given, *cases["alone"], "seed=1"), time.monotonic()
    bench.train(config, bench.folder / "unbroken", ranks=2)
    bench.train(config, bench.folder / "broken", ranks=2, strike=Strike(3, signal.SIGTERM))
    codes, _ = bench.train(config, bench.folder / "killed", ranks=2, strike=Strike(2, signal.SIGKILL, rank=1))
    check(0 not in codes, f"rank 1 was killed, and the ranks ended with exit codes {codes}")
    codes, said = bench.train(config, bench.folder / "resumed", ranks=2)
    check(codes == [0, 0] and "resuming an interrupted run" in said, f"it did not go on after a kill: exit codes {codes}")
    found |= {"automatic batch size": size[1], "after a kill": _same_end(bench, "unbroken", "resumed")}
    return found | {"seconds for four": time.monotonic() - start}


def _same_end(bench: Bench, unbroken: str, resumed: str) -> float:
    """The difference of the last losses, as a share: none on a CPU, little on a GPU, whose sums have no fixed order."""
    last = [
        float(list(csv.DictReader((bench.folder / name / "history.csv").read_text().splitlines()))[-1]["train_loss"])
        for name in (unbroken, resumed)
    ]
    share = abs(last[1] - last[0]) / last[0]
    check(share <= (0 if bench.cpu else AS_ONE), f"resumed: the last loss is {last[1]}, unbroken {last[0]}")
    return share


def _predictor(path: Path, *options: str) -> Predictor:
    return predictor_of([path], settings_of(options, Path.cwd()))


def _image(bench: Bench, side: int, seed: int = 0) -> np.ndarray:
    """Soft spots of colour."""
    small = np.random.default_rng(seed).integers(256, size=(max(2, side // 16), max(2, side // 16), 3), dtype=np.uint8)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)


def _said(work: Callable[[], Any]) -> str:
    """What work prints."""
    with redirect_stdout(io.StringIO()) as out:
        work()
    print(out.getvalue())
    return out.getvalue()


def _taken(work: Callable[[], Any]) -> int:
    """Bytes of the GPU's memory that work takes at most, beyond those in use; of a CPU nothing is known."""
    if not torch.cuda.is_available():
        work()
        return 0
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return torch.cuda.max_memory_allocated() - before
