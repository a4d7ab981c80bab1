"""What several workers that share out images compute on."""

import torch

from seg.core.errors import ConfigError, plural
from seg.models.hardware import device_of, idle_gpus
from seg.runtime.cluster import Cluster


def devices_of(count: int | str, accelerator: str | None) -> list[str | None]:
    """What `accelerator` is for each of `count` devices; several CPUs are as many processes. ConfigError where there are not so many.

    count: auto: all GPUs, or one CPU."""
    device = device_of(accelerator or "auto")
    there = torch.cuda.device_count() if device.type == "cuda" else 1
    if count == 1 or (count == "auto" and there == 1):
        for line in idle_gpus(device, 1, "predict.devices=auto predicts on all of them"):
            print(line)
        return [accelerator]
    number = there if count == "auto" else int(count)
    if device.index is not None:
        raise ConfigError(f"predict.devices={count}: predict.accelerator={accelerator} is a single GPU; set predict.accelerator=gpu")
    if device.type == "mps" or (device.type == "cuda" and number > there):
        raise ConfigError(f"predict.devices={count}: this machine has {there} GPU(s); set predict.devices=auto, or predict.accelerator=cpu")
    return [f"gpu:{place}" if device.type == "cuda" else "cpu" for place in range(number)]


def devices_in(cluster: Cluster, count: int | str, accelerator: str | None) -> list[str | None]:
    """What each of `count` workers of a cluster computes on, `gpu` or `cpu`. ConfigError where it has not so many GPUs.

    count: auto: all GPUs, or, where there are none or accelerator is cpu, a worker for each core."""
    there = cluster.gpus()
    if accelerator and ":" in accelerator:
        raise ConfigError(f"predict.accelerator={accelerator}: runtime.engine=ray chooses the GPUs itself; set predict.accelerator=gpu")
    on_gpu = accelerator == "gpu" or (accelerator != "cpu" and there > 0)
    number = (there if on_gpu else cluster.cores()) if count == "auto" else int(count)
    if on_gpu and not 0 < number <= there:
        fix = "set predict.devices=auto, or predict.accelerator=cpu"
        raise ConfigError(f"predict.devices={count}: the Ray cluster has {plural(there, 'GPU')}; {fix}")
    return ["gpu" if on_gpu else "cpu"] * number
