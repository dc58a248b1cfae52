"""Growing and opening of marked regions, with squares."""

from __future__ import annotations

from torch import Tensor


def dilate(maps: Tensor, radius: int) -> Tensor:
    """Marks every pixel within `radius` along both axes of a marked one: (P, H, W) bool → (P, H, W) bool.

    One pixel at a time: on bytes this is thirty times faster than max pooling.
    """
    for dim in (1, 2):
        last = maps.shape[dim] - 1
        for _ in range(radius):
            grown = maps.clone()
            grown.narrow(dim, 1, last).logical_or_(maps.narrow(dim, 0, last))
            grown.narrow(dim, 0, last).logical_or_(maps.narrow(dim, 1, last))
            maps = grown
    return maps


def opening(maps: Tensor, radius: int) -> Tensor:
    """Leaves of (P, H, W) bool what squares of side 2 · `radius` + 1 can cover without leaving the marked region.

    Squares may reach over the border.
    """
    return dilate(~dilate(~maps, radius), radius)
