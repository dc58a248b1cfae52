from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bombo.reporting.charts import HEIGHT, WIDTH, Series, chart, spread_out, ticks
from bombo.reporting.words import short

ENDS = {
    "one": (1, 4, [0, 0.5, 1]),
    "a loss": (1.87, 4, [0, 0.5, 1, 1.5, 2]),
    "percent": (100, 4, [0, 50, 100]),
    "steps": (1500, 3, [0, 500, 1000, 1500]),
    "tiny": (0.0011, 4, [0, 0.0005, 0.001, 0.0015]),
    "nothing": (0, 4, [0, 1]),
}


@pytest.mark.parametrize(("end", "number", "expected"), ENDS.values(), ids=ENDS)
def test_ticks(end, number, expected):
    assert ticks(end, number) == pytest.approx(expected)


@given(st.floats(1e-6, 1e9), st.integers(2, 6))
def test_ticks_reach_the_end_in_few_round_steps(end, number):
    found = ticks(end, number)
    assert found[0] == 0
    assert found[-2] < end * 1.000001
    assert found[-1] >= end * 0.999999
    assert 2 <= len(found) <= number + 2


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_labels_keep_their_order_and_their_distance(places):
    moved = spread_out(places, 11, 0, 100)
    order = sorted(range(len(places)), key=lambda i: places[i])
    gaps = [moved[b] - moved[a] for a, b in pairwise(order)]
    assert all(gap >= 10.8 for gap in gaps)  # places are rounded
    assert min(moved) >= 0
    assert max(moved) <= 100


def test_labels_with_room_stay_where_they_are():
    assert spread_out([10, 50, 90], 11, 0, 100) == [10, 50, 90]


def test_a_curve_lies_in_its_area_and_ends_at_its_last_point():
    drawn = chart("loss", "", [Series(0, "a", [(i, 4 / (1 + i)) for i in range(1000)])])
    assert drawn is not None
    (line,) = drawn.lines
    points = [tuple(map(float, pair.split())) for pair in line.path[1:].split("L")]
    assert len(points) <= 241
    assert points[-1] == line.end
    assert line.end[0] == drawn.right
    assert points[0][1] == drawn.top  # 4 is the largest value and a round number
    assert all(drawn.left <= x <= drawn.right <= WIDTH and drawn.top <= y <= drawn.bottom <= HEIGHT for x, y in points)


def test_one_point_is_a_dot_and_none_is_no_chart():
    drawn = chart("mIoU", "", [Series(0, "a", [(10, 50)]), Series(1, "b", [])])
    assert drawn is not None
    assert [line.is_dot for line in drawn.lines] == [True]
    assert chart("mIoU", "", [Series(0, "a", [])]) is None


def test_marks_beyond_the_axis_are_left_out():
    drawn = chart("loss", "", [Series(0, "a", [(0, 1), (100, 1)])], marks=[(15, "teacher asked"), (350, "trusted")])
    assert drawn is not None
    assert [mark.name for mark in drawn.marks] == ["teacher asked"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.04321, "0.0432"), (12.345, "12.3"), (512.4, "512"), (1500, "1500"), (400_000, "400 k"), (2e6, "2 M")],
)
def test_numbers_are_short(value, text):
    assert short(value) == text
