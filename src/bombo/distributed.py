"""The few things a process needs to know of its fellows under `torchrun`; without it every function is a no-op."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


def rank() -> int:
    """This process, 0 when alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this process prints and writes files."""
    return rank() == 0


def start(device: torch.device) -> None:
    """Joins the processes when `torchrun` started this one (it sets WORLD_SIZE); NCCL for CUDA, Gloo otherwise."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")


def local_rank() -> int:
    """Number of this process on its machine: which GPU it uses."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def count_over_processes(count: Tensor) -> Tensor:
    """Mean over the processes of a count, at least 1 in total.

    DistributedDataParallel averages gradients. A sum divided by this therefore gives, after averaging, the same
    gradient as one process with the whole batch; with a count of its own, each process would weight its images
    differently.
    """
    total = count.detach().float().clone()
    if world() > 1:
        dist.all_reduce(total)
    return total.clamp(min=1) / world()


def sum_over_processes(part: Tensor) -> Tensor:
    """Sum over the processes of a tensor that each computed from its own images.

    The gradient is the own part's times the number of processes: after DistributedDataParallel's average, that is the
    gradient of one process with the whole batch. For losses that are no plain sum over images.
    """
    if world() == 1:
        return part
    total = part.detach().clone()
    dist.all_reduce(total)
    scaled = part * world()
    return scaled + (total - scaled).detach()


def gather(value: Any) -> list[Any]:
    """The values of all processes, in order of rank, everywhere."""
    if world() == 1:
        return [value]
    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value)
    return values


def from_main(value: Any) -> Any:
    """The main process's value, everywhere."""
    if world() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def barrier() -> None:
    """Waits for all processes."""
    if world() > 1:
        dist.barrier()


def any_process(flags: tuple[bool, ...], device: torch.device) -> tuple[bool, ...]:
    """Whether each flag is set in any process; the answer is the same in all of them."""
    if world() == 1:
        return flags
    tensor = torch.tensor(flags, dtype=torch.int32, device=device)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return tuple(bool(flag) for flag in tensor.tolist())
