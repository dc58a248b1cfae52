"""Which device computes, and why."""

from __future__ import annotations

import os
from typing import Literal

import torch

from bombo import distributed
from bombo.errors import ConfigError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]


def choose_device(name: str) -> tuple[torch.device, str]:
    """Resolves `auto` to the fastest device there is; under `torchrun` every process gets a GPU of its own.

    Returns:
        The device and the reason in a few words.

    Raises:
        ConfigError: The device is unknown or not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return _cuda(distributed.local_rank()), "a GPU is there"
        if torch.backends.mps.is_available():
            return torch.device("mps"), "Apple's GPU is there"
        return torch.device("cpu"), "no GPU was found"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"`{name}` is no device", where="device", fix="use auto, cpu, cuda, cuda:1 or mps") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError("no CUDA device is available", where="device", fix="use --device cpu, or auto")
        return _cuda(distributed.local_rank() if device.index is None else device.index), "as asked"
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("no MPS device is available", where="device", fix="use --device cpu, or auto")
    return device, "as asked"


def _cuda(index: int) -> torch.device:
    count = torch.cuda.device_count()
    if index >= count:
        raise ConfigError(f"there is no GPU {index}; {count} found", where="device", fix=f"use 0 to {count - 1}")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def describe(device: torch.device) -> str:
    """Name and number of the device for a person."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} of {os.cpu_count()} cores)" if device.type == "cpu" else str(device)


def memory_in_use(device: torch.device) -> float:
    """Peak memory in bytes: of the GPU for CUDA, of the process elsewhere."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    try:
        import resource
        import sys
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)
