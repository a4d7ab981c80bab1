"""Two ranks of a training on the CPU, forked from a process that has imported what they need; gloo is between them."""

import os
import socket
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

from forkserver import SERVER

RANKS = 2


def in_ranks(function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What a function (rank, *arguments) of a test's module returns in each of the ranks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pipes = [SERVER.Pipe(duplex=False) for _ in range(RANKS)]
    ranks = [SERVER.Process(target=_run, args=(rank, port, pipes[rank][1], function, arguments)) for rank in range(RANKS)]
    for rank in ranks:
        rank.start()
    found = [pipe.recv() if pipe.poll(90) else "has not answered" for pipe, _ in pipes]
    for rank in ranks:
        rank.join(5)
        rank.kill()
    for answer in found:
        assert isinstance(answer, tuple), answer
    return [answer[0] for answer in found]


def _run(rank: int, port: int, pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(RANKS), "RANK": str(rank)}
    os.environ |= {"LOCAL_RANK": str(rank), "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": str(RANKS), "TORCHELASTIC_RUN_ID": "test"}
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=RANKS, timeout=timedelta(seconds=30))
    try:
        pipe.send((function(rank, *arguments),))
    except BaseException:
        pipe.send(traceback.format_exc())
    dist.destroy_process_group()
