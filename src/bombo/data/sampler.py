"""Which images make up the batch of a step: a pure function of seed and step, so resuming changes nothing.

The rule: box-only and mask-only images share the batch equally, however many there are of each. Fully annotated images
take their natural share of the batch, and at least half of it where they alone teach one of the two tasks. Each stream
is drawn without replacement, in a new order each time it has been used up. Every stream that exists has at least one
place in every batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch

from bombo.errors import ConfigError

STREAMS = ("boxes", "masks", "both")


class Draw(NamedTuple):
    """One place in a batch: which image, at which size, and the seed of its augmentation."""

    image: int
    size: tuple[int, int]
    seed: int


def places(counts: dict[str, int], batch_size: int) -> dict[str, int]:
    """How many places of a batch each stream has.

    Args:
        counts: Number of images in the streams `boxes`, `masks` and `both`.
        batch_size: Number of places.

    Raises:
        ConfigError: There are no images, or fewer places than streams.
    """
    used = [stream for stream in STREAMS if counts.get(stream)]
    if not used:
        raise ConfigError("there are no training images", where="train", fix="check `list:` and `use:` of every source")
    if batch_size < len(used):
        raise ConfigError(
            f"a batch of {batch_size} cannot hold {len(used)} kinds of images ({', '.join(used)})",
            where="batch_size",
            fix=f"use a batch size of {len(used)} or more",
        )
    both = counts.get("both", 0) / sum(counts[stream] for stream in used)
    alone = [stream for stream in ("boxes", "masks") if counts.get(stream)]
    if both and len(alone) == 1:
        both = max(both, 0.5)
    share = {stream: (both if stream == "both" else (1 - both) / len(alone)) for stream in used}
    result = {stream: max(1, int(share[stream] * batch_size)) for stream in used}
    while sum(result.values()) != batch_size:  # the largest shortfall (or excess) moves by one
        step = 1 if sum(result.values()) < batch_size else -1
        movable = [stream for stream in used if result[stream] + step >= 1]
        best = max(movable, key=lambda stream: step * (share[stream] * batch_size - result[stream]))
        result[best] += step
    return result


@dataclass(frozen=True)
class BalancedBatches:
    """Yields, for the steps from `start` to `stop`, the draws of this process.

    Args:
        kinds: Kind of annotation of every image: `boxes`, `masks` or `both`.
        batch_size: Places of the global batch, over all processes.
        sizes: Input sizes (height, width) to choose from, one for a whole batch.
        seed: Seed of order, sizes and augmentation.
        start: First step.
        stop: Step after the last.
        rank: This process.
        world: Number of processes; the global batch is dealt out so that each gets its share of every stream.
    """

    kinds: Sequence[str]
    batch_size: int
    sizes: Sequence[tuple[int, int]]
    seed: int = 0
    start: int = 0
    stop: int = 1
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.batch_size % self.world:
            raise ConfigError(
                f"a batch of {self.batch_size} cannot be dealt to {self.world} processes",
                where="batch_size",
                fix=f"use a multiple of {self.world}",
            )
        self.places()

    def places(self) -> dict[str, int]:
        """Places of each stream in the global batch."""
        counts = {stream: sum(kind == stream for kind in self.kinds) for stream in STREAMS}
        return places(counts, self.batch_size)

    def __len__(self) -> int:
        return max(0, self.stop - self.start)

    def __iter__(self) -> Iterator[list[Draw]]:
        streams = [
            ([i for i, kind in enumerate(self.kinds) if kind == stream], number, order)
            for order, (stream, number) in enumerate(self.places().items())
        ]
        for step in range(self.start, self.stop):
            size = self.sizes[int(torch.randint(len(self.sizes), (), generator=_generator(self.seed, step, 3)))]
            draws = [
                Draw(members[self._order(order, len(members), position)], size, _mix(self.seed, order, position))
                for members, number, order in streams
                for position in range(step * number, (step + 1) * number)
            ]
            yield draws[self.rank :: self.world]

    def _order(self, stream: int, length: int, position: int) -> int:
        return int(_permutation(_mix(self.seed, stream, position // length, 5), length)[position % length])


@lru_cache(maxsize=8)
def _permutation(seed: int, length: int) -> torch.Tensor:
    return torch.randperm(length, generator=torch.Generator().manual_seed(seed))


def _generator(*parts: int) -> torch.Generator:
    return torch.Generator().manual_seed(_mix(*parts))


def _mix(*parts: int) -> int:
    """Mixes whole numbers into a 63-bit seed (the finaliser of SplitMix64, Steele et al. 2014)."""
    state = 0
    for part in parts:
        state = (state + part + 0x9E3779B97F4A7C15) & (2**64 - 1)
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        state ^= state >> 31
    return state >> 1
