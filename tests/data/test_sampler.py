from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from fractions import Fraction
from itertools import chain

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bombo.data.sampler import STREAMS, BalancedBatches, Draw, places
from bombo.errors import ConfigError

SIZES = [(64, 64), (96, 96), (128, 128)]
some_counts = st.fixed_dictionaries({stream: st.integers(0, 40) for stream in STREAMS})


@st.composite
def samplers(draw: st.DrawFn) -> BalancedBatches:
    counts = draw(some_counts)
    used = sum(count > 0 for count in counts.values())
    assume(used)
    world = draw(st.sampled_from([1, 2, 3, 4]))
    batch = world * draw(st.integers(-(-used // world), 12))
    kinds = draw(st.permutations([kind for kind, count in counts.items() for _ in range(count)]))
    return BalancedBatches(kinds, batch, SIZES, draw(st.integers(0, 2**40)), stop=12, world=world)


def whole(sampler: BalancedBatches) -> BalancedBatches:
    return replace(sampler, world=1)


def expected_shares(counts: dict[str, int]) -> dict[str, Fraction]:
    """The rule of the module, said a second time."""
    used = {stream: count for stream, count in counts.items() if count}
    both = Fraction(used.get("both", 0), sum(used.values()))
    partial = [stream for stream in ("boxes", "masks") if stream in used]
    if both and len(partial) == 1:
        both = max(both, Fraction(1, 2))
    shares = {stream: (1 - both) / len(partial) for stream in partial}
    return shares | ({"both": both} if both else {})


@settings(max_examples=300, deadline=None)
@given(some_counts, st.integers(3, 300))
def test_every_stream_gets_its_share(counts: dict[str, int], batch: int) -> None:
    assume(any(counts.values()))
    given_places, shares = places(counts, batch), expected_shares(counts)
    assert given_places.keys() == shares.keys()
    assert sum(given_places.values()) == batch
    for stream, number in given_places.items():
        assert number >= 1
        # rounding moves a share by less than one place; each stream too small for a place takes one from the others
        lifted = sum(share * batch < 1 for share in shares.values())
        assert abs(number - shares[stream] * batch) < 1 + lifted
    if counts["boxes"] and counts["masks"]:
        assert abs(given_places["boxes"] - given_places["masks"]) <= 1


@pytest.mark.parametrize(
    ("counts", "batch", "expected"),
    [
        ({"boxes": 10}, 4, {"boxes": 4}),
        ({"both": 10, "boxes": 0}, 4, {"both": 4}),
        ({"boxes": 1000, "masks": 10}, 8, {"boxes": 4, "masks": 4}),
        ({"boxes": 10, "masks": 1000}, 7, {"boxes": 4, "masks": 3}),
        ({"boxes": 10, "masks": 10, "both": 20}, 8, {"boxes": 2, "masks": 2, "both": 4}),
        ({"boxes": 400, "masks": 300, "both": 300}, 10, {"boxes": 4, "masks": 3, "both": 3}),
        ({"boxes": 90, "both": 10}, 8, {"boxes": 4, "both": 4}),
        ({"masks": 10, "both": 90}, 10, {"masks": 1, "both": 9}),
        ({"boxes": 1, "masks": 1, "both": 998}, 16, {"boxes": 1, "masks": 1, "both": 14}),
        ({"boxes": 1, "masks": 1, "both": 998}, 3, {"boxes": 1, "masks": 1, "both": 1}),
        ({"boxes": 500, "masks": 499, "both": 1}, 16, {"boxes": 8, "masks": 7, "both": 1}),
    ],
)
def test_places(counts: dict[str, int], batch: int, expected: dict[str, int]) -> None:
    assert places(counts, batch) == expected


@pytest.mark.parametrize(
    ("kinds", "batch", "world", "message"),
    [
        ([], 4, 1, "there are no training images"),
        (["none", "none"], 4, 1, "there are no training images"),
        (["boxes", "masks", "both"], 2, 1, r"batch of 2 cannot hold 3 kinds of images \(boxes, masks, both\)"),
        (["boxes", "both"], 1, 1, "cannot hold 2 kinds"),
        (["boxes"], 6, 4, "batch of 6 cannot be dealt to 4 processes\n  fix: use a multiple of 4"),
    ],
)
def test_what_cannot_be(kinds: list[str], batch: int, world: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BalancedBatches(kinds, batch, SIZES, world=world)


@settings(max_examples=60, deadline=None)
@given(samplers(), st.integers(0, 12))
def test_a_pure_function_of_seed_and_step(sampler: BalancedBatches, start: int) -> None:
    state = torch.get_rng_state()
    batches = [*sampler]
    assert len(batches) == len(sampler) == 12
    torch.manual_seed(start)
    torch.rand(3)
    assert [*sampler] == batches
    resumed = replace(sampler, start=start)
    assert len(resumed) == 12 - start
    assert [*resumed] == batches[start:]
    torch.set_rng_state(state)


def test_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    list(BalancedBatches(["boxes", "masks"], 4, SIZES, stop=5))
    assert torch.equal(torch.get_rng_state(), state)


@settings(max_examples=60, deadline=None)
@given(samplers())
def test_ranks_share_the_global_batch(sampler: BalancedBatches) -> None:
    every = [replace(sampler, rank=rank) for rank in range(sampler.world)]
    for step, parts in enumerate(zip(*every, strict=True)):
        (union,) = whole(replace(sampler, start=step, stop=step + 1))
        assert Counter(chain(*parts)) == Counter(union)
        assert {len(part) for part in parts} == {sampler.batch_size // sampler.world}
        for stream, number in sampler.places().items():
            for part in parts:  # each rank gets its share of every stream
                share = sum(sampler.kinds[draw.image] == stream for draw in part)
                assert abs(share - number / sampler.world) < 1


@settings(max_examples=60, deadline=None)
@given(samplers())
def test_every_batch_has_its_places_and_one_size(sampler: BalancedBatches) -> None:
    for batch in whole(sampler):
        assert Counter(sampler.kinds[draw.image] for draw in batch) == sampler.places()
        assert len({draw.size for draw in batch}) == 1


@settings(max_examples=60, deadline=None)
@given(samplers())
def test_each_stream_is_drawn_without_replacement(sampler: BalancedBatches) -> None:
    drawn: dict[str, list[int]] = defaultdict(list)
    for draw in chain(*whole(sampler)):
        drawn[sampler.kinds[draw.image]].append(draw.image)
    for stream, images in drawn.items():
        members = [image for image, kind in enumerate(sampler.kinds) if kind == stream]
        for first in range(0, len(images), len(members)):
            once = images[first : first + len(members)]
            assert len({*once}) == len(once)
            assert {*once} <= {*members}
            if len(once) == len(members):
                assert {*once} == {*members}


def test_orders_differ() -> None:
    sampler = BalancedBatches(["boxes"] * 50 + ["masks"] * 50, 100, SIZES, stop=2)
    (first, second), (other, _) = sampler, replace(sampler, seed=1)
    orders = [[draw.image % 50 for draw in part] for part in (first[:50], first[50:], second[:50], other[:50])]
    assert len({tuple(order) for order in orders}) == 4  # streams, passes and seeds
    assert orders[0] != [*range(50)]


def test_no_two_draws_are_augmented_alike() -> None:
    draws = [*chain(*BalancedBatches(["boxes", "masks", "both"] * 4, 12, SIZES, stop=200))]
    assert len({draw.seed for draw in draws}) == len(draws)
    assert all(0 <= draw.seed < 2**63 for draw in draws)


def test_all_sizes_are_used_and_ranks_agree_on_them() -> None:
    sampler = BalancedBatches(["boxes", "masks"], 4, SIZES, stop=300, world=2)
    sizes = [batch[0].size for batch in sampler]
    assert min(Counter(sizes).values()) > 70
    assert {*sizes} == {*SIZES}
    assert [batch[0].size for batch in replace(sampler, rank=1)] == sizes


def test_pinned() -> None:
    # a changed order of the same seed would silently change what a resumed run sees
    (batch,) = BalancedBatches(["boxes", "masks", "both", "boxes"], 4, SIZES, seed=3, start=100, stop=101)
    assert [draw.image for draw in batch] == [3, 0, 1, 2]
    assert batch[0] == Draw(3, (96, 96), 5789913928766730316)
