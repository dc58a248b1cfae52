from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bombo.models.matching import Matches, match


def slow_iou(a: list[float], b: list[float]) -> tuple[float, float]:
    """IoU, and share of `b` inside `a`."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area_a, area_b = ((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return width * height / (area_a + area_b - width * height), width * height / area_b


def slow_duties(anchors: Tensor, boxes: Tensor, is_target: Tensor) -> list[list[tuple[str, int, frozenset[int]]]]:
    """For every image and anchor: its duty, the box of this duty (or -1), and the regions it lies in."""
    everything = []
    for image, targets in zip(boxes.tolist(), is_target.tolist(), strict=True):
        claims: dict[int, tuple[float, int]] = {}
        for n, box in enumerate(image):
            overlaps = [slow_iou(box, anchor)[0] for anchor in anchors.tolist()]
            best = max(range(len(overlaps)), key=overlaps.__getitem__)
            if targets[n] and overlaps[best] > 0 and overlaps[best] > claims.get(best, (0.0, -1))[0]:
                claims[best] = (overlaps[best], n)
        duties = []
        for a, anchor in enumerate(anchors.tolist()):
            overlap, box = max(
                ((slow_iou(b, anchor)[0], n) for n, b in enumerate(image) if targets[n]), default=(0, -1)
            )
            regions = frozenset(
                n
                for n, b in enumerate(image)
                if not targets[n]
                and b[2] > b[0]
                and b[3] > b[1]
                and (slow_iou(b, anchor)[1] >= 0.5 or slow_iou(b, anchor)[0] >= 0.4)
            )
            if a in claims:
                duties.append(("positive", claims[a][1], regions))
            elif overlap >= 0.5:
                duties.append(("positive", box, regions))
            elif overlap >= 0.4:
                duties.append(("doubtful", box, regions))
            else:
                duties.append(("negative", -1, regions))
        everything.append(duties)
    return everything


def duties(matches: Matches) -> list[list[tuple[str, int, frozenset[int]]]]:
    assert not (matches.positive & matches.doubtful).any()
    return [
        [
            (
                "positive" if matches.positive[b, a] else "doubtful" if matches.doubtful[b, a] else "negative",
                int(matches.box[b, a]) if matches.positive[b, a] or matches.doubtful[b, a] else -1,
                frozenset(matches.in_region[b, a].nonzero().flatten().tolist()),
            )
            for a in range(matches.box.shape[1])
        ]
        for b in range(matches.box.shape[0])
    ]


def random_case(seed: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """50 anchors; boxes near anchors, far from them, outside, without area and padding rows; targets and regions."""
    random = torch.Generator().manual_seed(seed)
    corner = torch.rand(50, 2, generator=random) * 50
    anchors = torch.cat((corner, corner + 4 + torch.rand(50, 2, generator=random) * 20), dim=1)
    near = anchors[torch.randint(50, (3, count), generator=random)]
    boxes = near + torch.randn(3, count, 4, generator=random) * torch.rand(3, count, 1, generator=random) * 6
    boxes[..., 2:] = torch.maximum(boxes[..., 2:], boxes[..., :2] + 0.5)
    kind = torch.randint(12, (3, count), generator=random)
    boxes[kind == 0] += 500  # far outside
    boxes[kind == 1] = 0  # padding
    boxes[..., 2:] = torch.where((kind == 2)[..., None], boxes[..., :2], boxes[..., 2:])  # without area
    return anchors, boxes, (kind != 1) & (torch.rand(3, count, generator=random) < 0.7)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 9))
def test_matches_are_those_of_a_plain_loop(seed: int, count: int) -> None:
    case = random_case(seed, count)
    assert duties(match(*case)) == slow_duties(*case)


def test_random_cases_have_every_duty() -> None:
    seen = [duty for seed in range(5) for image in slow_duties(*random_case(seed, 9)) for duty in image]
    assert {duty for duty, _, _ in seen} == {"positive", "doubtful", "negative"}
    assert {len(regions) for _, _, regions in seen} >= {0, 1, 2}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.randoms(use_true_random=False))
def test_order_of_images_and_boxes_does_not_matter(seed: int, random) -> None:  # type: ignore[no-untyped-def]
    anchors, boxes, is_target = random_case(seed, 7)
    images, rows = random.sample(range(3), 3), random.sample(range(7), 7)
    shuffled = duties(match(anchors, boxes[images][:, rows], is_target[images][:, rows]))
    expected = duties(match(anchors, boxes, is_target))
    back = [
        [(duty, rows[box] if box >= 0 else -1, frozenset(rows[r] for r in regions)) for duty, box, regions in image]
        for image in shuffled
    ]
    assert back == [expected[i] for i in images]


ANCHORS = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [0, 20, 10, 30], [0, 20, 10, 24.5]])
P, D, N = "positive", "doubtful", "negative"


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        pytest.param([(0, 0, 10, 10)], [(P, 0), (N, -1), (N, -1), (N, -1)], id="exact"),
        pytest.param([(0, 0, 2, 2)], [(P, 0), (N, -1), (N, -1), (N, -1)], id="forced at IoU 0.04"),
        pytest.param([(50, 50, 60, 60)], [(N, -1)] * 4, id="meets no anchor"),
        pytest.param([(5, 5, 5, 5)], [(N, -1)] * 4, id="without area"),
        pytest.param([(0, 20, 10, 24.5)], [(N, -1), (N, -1), (D, 0), (P, 0)], id="doubtful at 0.45"),
        pytest.param([(0, 20, 10, 24), (0, 20, 10, 30)], [(N, -1), (N, -1), (P, 1), (P, 0)], id="each its own"),
        pytest.param([(0, 0, 9, 10), (0, 0, 3, 10)], [(P, 0), (N, -1), (N, -1), (N, -1)], id="first fits better"),
        pytest.param([(0, 0, 3, 10), (0, 0, 9, 10)], [(P, 1), (N, -1), (N, -1), (N, -1)], id="second fits better"),
    ],
)
def test_targets_by_hand(boxes: list[tuple[float, ...]], expected: list[tuple[str, int]]) -> None:
    found = duties(match(ANCHORS, torch.tensor([boxes]).float(), torch.ones(1, len(boxes), dtype=torch.bool)))
    assert [(duty, box) for duty, box, _ in found[0]] == expected


@pytest.mark.parametrize(
    ("region", "inside"),
    [
        pytest.param((-100, -100, 100, 100), [True] * 4, id="everything"),
        pytest.param((0, 0, 5, 10), [True, False, False, False], id="half an anchor"),
        pytest.param((0, 0, 3.9, 10), [False] * 4, id="less than half an anchor"),
        pytest.param((0, 0, 4.5, 10), [True, False, False, False], id="less than half, but IoU 0.45"),
        pytest.param((0, 0, 0, 0), [False] * 4, id="padding"),
        pytest.param((0, 20, 10, 20), [False] * 4, id="without area"),
    ],
)
def test_regions_by_hand(region: tuple[float, ...], inside: list[bool]) -> None:
    matches = match(ANCHORS, torch.tensor([[region]]).float(), torch.zeros(1, 1, dtype=torch.bool))
    assert matches.in_region[0, :, 0].tolist() == inside
    assert not matches.positive.any()
    assert not matches.doubtful.any()


def test_without_boxes_every_anchor_is_negative() -> None:
    matches = match(ANCHORS, torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.bool))
    assert matches.in_region.shape == (2, 4, 0)
    assert duties(matches) == [[(N, -1, frozenset())] * 4] * 2
