"""What two ranks on a CPU gain, each of which computes with one thread and talks over gloo.

    python benchmarks/ranks.py overlap    # a minute
    python benchmarks/ranks.py scaling    # two minutes
    python benchmarks/ranks.py memory     # two minutes

overlap: a network of equal layers, each of which is exchanged by itself over a link that is made so slow that the exchange takes as long as
the backward pass. The figure is the time of both together, as a share of the longer one, of the best of three rounds each; one after the
other they would take twice as long. Bar: at most 1.1.

scaling: images a second of `seg train` on two ranks, as a multiple of twice those of one process with one thread, on the README's
default network and drawn shapes of 128 x 128. The ranks train before and after the single process. Bar: at least 0.9.

memory: what a rank of two holds in tensors behind the third step of EoMT on a ViT-B, by AdamW, with FSDP and with DDP: weights and the
optimizer's state. Bar: FSDP takes at most 0.6 of DDP.
"""

import argparse
import multiprocessing
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

import torch
import torch.distributed as dist
from gpu_bench import Bench, check
from torch import nn

from seg.training.step import exchange

LAYERS, WIDTH, ROWS, ROUNDS = 32, 1024, 2048, 3


class Slow:
    """An exchange over a slow link: one call after the other, each of which takes `seconds`."""

    seconds = free = 0.0

    def __init__(self) -> None:
        self.done = Slow.free = max(time.perf_counter(), Slow.free) + Slow.seconds

    def wait(self) -> None:
        time.sleep(max(0.0, self.done - time.perf_counter()))


def overlap() -> float:
    """Prints and returns the greater share of the two ranks."""
    context, port = multiprocessing.get_context("fork"), str(20000 + os.getpid() % 20000)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    receivers = [context.Pipe(duplex=False) for _ in range(2)]
    for rank, (_, sender) in enumerate(receivers):
        context.Process(target=_overlapped, args=(rank, sender)).start()
    found = [receiver.recv() for receiver, _ in receivers]
    for backward, link, both in found:
        share = both / max(backward, link)
        print(f"backward {backward:.3f} s, exchange {link:.3f} s, both {both:.3f} s: {share:.3f} times the longer one")
    return max(both / max(backward, link) for backward, link, both in found)


def _overlapped(rank: int, sender: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    network = nn.Sequential(*(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS)))
    exchange.BUCKETS = LAYERS
    own, parameters = exchange.Exchange(network), list(network.parameters())
    real = dist.all_reduce
    dist.all_reduce = lambda tensor, *given, **named: Slow() if named.get("async_op") else real(tensor, *given, **named)

    def step(exchanged: bool) -> float:
        network.zero_grad()
        if exchanged:
            own.begin(parameters)
        loss = network(torch.randn(ROWS, WIDTH)).square().mean()
        dist.barrier()
        start = time.perf_counter()
        if exchanged:
            own.last()
        loss.backward()
        assert not exchanged or own.finish(failed=False)
        return time.perf_counter() - start

    step(True)
    backward = min(step(False) for _ in range(ROUNDS))
    shared = torch.tensor(backward)
    real(shared, dist.ReduceOp.MAX)
    Slow.seconds = float(shared) / LAYERS
    both = min(step(True) for _ in range(ROUNDS))
    sender.send((backward, Slow.seconds * len(own.buckets), both))
    dist.destroy_process_group()


def scaling(folder: Path) -> float:
    """Prints and returns the share of twice one process."""
    bench = Bench(folder, folder / "data", True, ("data.source.size=128", "data.source.num_images=230", "trainer.max_epochs=3"))
    ranks = ["trainer=ddp", "trainer.devices=2", "trainer.batch_size=8"]
    paces = {}
    for name, count in (("two ranks", 2), ("one process", 1), ("two ranks again", 2)):
        codes, said = bench.train(bench.config(*(ranks if count == 2 else ["trainer.batch_size=8"])), bench.folder / name, count)
        check(codes == [0] * count, said)
        paces[name] = max(float(pace) for pace in re.findall(r"([\d.]+) images/s", said))
        print(f"{name}: {paces[name]:.1f} images/s", flush=True)
    share = (paces["two ranks"] + paces["two ranks again"]) / 2 / (2 * paces["one process"])
    print(f"{share:.3f} of twice one process")
    return share


def memory(folder: Path) -> float:
    """Prints the memory of the rank that holds more; returns the share of FSDP's in DDP's."""
    bench = Bench(folder, folder / "data", True, ("data.source.size=64", "data.source.num_images=20", "trainer.max_epochs=1"))
    given = ["model=eomt", "loss=masks", "optimizer=adamw", "model.scale=1", "augment=none", "trainer.batch_size=2"]
    shape = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "num_queries": 20}
    given += ["trainer.devices=2", "trainer.epoch_steps=4"]
    given += [f"model.network.architecture.{key}={value}" for key, value in shape.items()]
    held = []
    for name in ("fsdp", "ddp"):
        codes, said = bench.train(bench.config(*given, f"trainer={name}"), bench.folder / name, 2)
        check(codes == [0, 0], said)
        held += [max(float(found) for found in re.findall(r"tensors behind it: ([\d.]+) GB", said))]
        print(f"{name}: {held[-1]} GB a rank, {re.findall(r'with ([0-9.]+ . parameters)', said)}", flush=True)
    return held[0] / held[1]


def main() -> int:
    """The exit code: 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overlap", "scaling", "memory"])
    what = parser.parse_args().what
    if what == "overlap":
        return 0 if overlap() <= 1.1 else 1
    with tempfile.TemporaryDirectory() as folder:
        return int(memory(Path(folder)) > 0.6 if what == "memory" else scaling(Path(folder)) < 0.9)


if __name__ == "__main__":
    sys.exit(main())
