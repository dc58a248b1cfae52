"""What an ablation says: means, spreads, the gap closed; in tables and in a plot."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from bombo.engine.ablation_plot import plot
from bombo.engine.ablation_tables import arms_sheet, caption, class_sheets
from bombo.engine.comparison import compare, gap_closed, spread
from bombo.files import without_nan

SETTINGS = {"detection_weight": 1.0, "segmentation_weight": 0.5, "method": "skip", "losses": None}


def result(arm: str, seed: int, ap50: float, ap: float, iou: float, **more: Any) -> dict[str, Any]:
    """A run whose cats are as good as its figures say, whose dogs are all 0.5 and whose birds cannot be measured."""
    classes = {"cat": {"AP50-95": ap, "IoU": iou}, "dog": {"AP50-95": 0.5, "IoU": 0.5}, "bird": {"AP50-95": None}}
    return {
        "arm": arm,
        "seed": seed,
        "figures": {"mAP50": ap50, "mAP50-95": ap, "mIoU": iou, "IoU_background": 0.81 if arm == "oracle" else 0.8},
        "per_class": classes,
        "cost": {"steps": 10, "seconds": 2.0 + seed, "cpu_seconds": 1.0 + seed, "memory": (1 + seed) * 2**30},
        "device": "cpu",
        "settings": SETTINGS,
        "seen": {"boxes": 80, "masks": 80},
    } | more


HAND_MADE = {
    "skip": [result("skip", 0, 0.50, 0.20, 0.60), result("skip", 1, 0.54, 0.24, 0.60)],
    "mine": [result("mine", 0, 0.57, 0.28, 0.57), result("mine", 1, 0.59, 0.30, 0.59)],
    "oracle": [result("oracle", 0, 0.60, 0.30, 0.70), result("oracle", 1, 0.60, 0.34, 0.72)],
}
UNEVEN = {  # a third seed of the ends, on which both are far better, says nothing of an arm without it
    "skip": [*HAND_MADE["skip"], result("skip", 2, 0.80, 0.70, 0.80)],
    "mine": HAND_MADE["mine"],
    "oracle": [*HAND_MADE["oracle"], result("oracle", 2, 0.90, 0.80, 0.90)],
}
SPREADS = {
    "one": ([0.3], math.nan),
    "two: half the range": ([0.3, 0.5], 0.1),
    "three: standard deviation": ([1.0, 2.0, 4.0], math.sqrt((16 / 9 + 1 / 9 + 25 / 9) / 2)),
    "four": ([1.0, 1.0, 3.0, 3.0], math.sqrt(4 / 3)),
    "not measured": ([math.nan, math.nan, math.nan], math.nan),
}


@pytest.mark.parametrize(("values", "expected"), SPREADS.values(), ids=SPREADS)
def test_spread(values: list[float], expected: float) -> None:
    assert spread(values) == pytest.approx(expected, nan_ok=True)


GAPS = {
    "half": ({"skip": 0.2, "a": 0.3, "oracle": 0.4}, [0.0, 0.5, 1.0]),
    "below and above": ({"oracle": 0.4, "a": 0.1, "b": 0.5, "skip": 0.2}, [1.0, -0.5, 1.5, 0.0]),
    "no oracle": ({"skip": 0.2, "a": 0.3}, [math.nan] * 2),
    "no skip": ({"oracle": 0.2, "a": 0.3}, [math.nan] * 2),
    "no gap": ({"skip": 0.2, "a": 0.3, "oracle": 0.2}, [math.nan] * 3),
    "an oracle that is worse": ({"skip": 0.2, "a": 0.3, "oracle": 0.1}, [math.nan] * 3),
    "not measured": ({"skip": math.nan, "a": 0.3, "oracle": 0.1}, [math.nan] * 3),
}


@pytest.mark.parametrize(("means", "expected"), GAPS.values(), ids=GAPS)
def test_gap_closed(means: dict[str, float], expected: list[float]) -> None:
    assert list(gap_closed(means).values()) == pytest.approx(expected, nan_ok=True)
    assert list(gap_closed(means)) == list(means)


class TestTables:
    def test_arms(self) -> None:
        sheet = arms_sheet(compare(HAND_MADE))
        gap = "gap closed"
        assert sheet.header == [
            *("arm", "seeds", "mAP50", gap, "mAP50-95", gap, "mIoU", gap, "CPU s/step", "peak memory")
        ]
        # gaps: (58 - 52) / (60 - 52), (29 - 22) / (32 - 22), (58 - 60) / (71 - 60)
        assert sheet.rows == [
            ["skip", "2", "52.0 ± 2.0", "0 %", "22.0 ± 2.0", "0 %", "60.0 ± 0.0", "0 %", "1.50", "2.00 GiB"],
            ["mine", "2", "58.0 ± 1.0", "75 %", "29.0 ± 1.0", "70 %", "58.0 ± 1.0", "-18 %", "1.50", "2.00 GiB"],
            ["oracle", "2", "60.0 ± 0.0", "100 %", "32.0 ± 2.0", "100 %", "71.0 ± 1.0", "100 %", "1.50", "2.00 GiB"],
        ]
        assert sheet.to_markdown().splitlines()[4].startswith("| skip | 2 | 52.0 ± 2.0 | 0 % |")

    def test_without_oracle(self) -> None:
        comparison = compare({arm: HAND_MADE[arm] for arm in ("skip", "mine")})
        sheet = arms_sheet(comparison)
        assert sheet.header == ["arm", "seeds", "mAP50", "mAP50-95", "mIoU", "CPU s/step", "peak memory"]
        assert all(len(row) == len(sheet.header) for row in sheet.rows)
        assert "gap" not in caption(comparison)
        assert [row[0] for row in class_sheets(comparison)[0].rows] == ["cat", "dog", "bird", "mean"]

    def test_one_seed_on_a_gpu_without_detection(self) -> None:
        run = result("skip", 0, 0, 0, 0.6, device="cuda:0")
        run["figures"] |= {"mAP50": None, "mAP50-95": None}
        run["cost"]["memory"] = None
        comparison = compare({"skip": [run]})
        sheet = arms_sheet(comparison)
        assert sheet.header[-2] == "s/step"
        assert sheet.rows == [["skip", "1", "–", "–", "60.0", "2.00", "–"]]
        assert "one seed: no spread" in caption(comparison)

    def test_classes(self) -> None:
        detection, segmentation = class_sheets(compare(HAND_MADE))
        assert detection.header == ["class", "skip", "mine", "oracle"]
        assert detection.rows == [  # the gap is all cat's; (39.5 - 36) / (41 - 36)
            ["cat", "22.0", "29.0", "32.0"],
            ["dog", "50.0", "50.0", "50.0"],
            ["bird", "–", "–", "–"],
            ["mean", "36.0", "39.5", "41.0"],
            ["gap closed", "0 %", "70 %", "100 %"],
            ["mean without cat", "50.0", "50.0", "50.0"],
            ["gap closed without cat", "–", "–", "–"],
        ]
        assert segmentation.rows[0] == ["background", "80.0", "80.0", "81.0"]
        assert segmentation.rows[3:] == [  # without cat: (80 + 50) / 2 and (81 + 50) / 2
            ["mean", "63.3", "62.7", "67.3"],
            ["gap closed", "0 %", "-17 %", "100 %"],
            ["mean without cat", "65.0", "65.0", "65.5"],
            ["gap closed without cat", "0 %", "0 %", "100 %"],
        ]

    @pytest.mark.parametrize(
        "cause",
        [{"settings": SETTINGS | {"segmentation_weight": 0}}, {"seen": {"boxes": 80, "masks": 0}}],
        ids=["no weight", "no masks"],
    )
    def test_a_head_that_was_not_trained_has_no_figures(self, cause: dict[str, Any]) -> None:
        runs = [run | cause for run in HAND_MADE["mine"]]
        comparison = compare(HAND_MADE | {"detect": runs})
        assert arms_sheet(comparison).rows[-1][2:8] == ["58.0 ± 1.0", "75 %", "29.0 ± 1.0", "70 %", "–", "–"]
        detection, segmentation = class_sheets(comparison)
        assert [row[-1] for row in segmentation.rows] == ["–"] * 7
        assert detection.rows[0][-1] == "29.0"

    @pytest.mark.parametrize(
        ("method", "losses", "kind", "rows"),
        [
            ("bombo", None, "boxes", [True, True, True]),
            ("skip", None, "boxes", [True, True, False]),
            ("skip", {"b4m_set": 0.1}, "boxes", [True, True, True]),
            ("bombo", {"b4m_label": 0.0, "b4m_dice": 0.0}, "boxes", [True, True, False]),
            ("m4b", None, "masks", [True, True, True]),
            ("b4m", None, "masks", [False, False, True]),
            ("ssl", None, "masks", [False, False, True]),
        ],
    )
    def test_a_weak_loss_teaches_a_head_too(
        self, method: str, losses: dict[str, float] | None, kind: str, rows: list[bool]
    ) -> None:
        alone = {
            "settings": SETTINGS | {"method": method, "losses": losses},
            "seen": {"boxes": 0, "masks": 0, kind: 80},
        }
        figures = compare({"mine": [run | alone for run in HAND_MADE["mine"]]}).figures["mine"]
        assert [not math.isnan(figures[name].mean) for name in ("mAP50", "mAP50-95", "mIoU")] == rows

    def test_the_caption_names_every_spread_there_is(self) -> None:
        three = [*HAND_MADE["skip"], result("skip", 2, 0.5, 0.2, 0.6)]
        text = caption(compare(HAND_MADE | {"skip": three}))
        assert "± half the range of two seeds" in text
        assert "± standard deviation of three or more seeds" in text


@pytest.mark.parametrize("arms", [["skip", "mine", "oracle"], ["mine"]], ids=["all", "no lines"])
def test_the_plot_is_the_same_every_time(arms: list[str], tmp_path: Path) -> None:
    comparison = compare({arm: HAND_MADE[arm] for arm in arms})
    for name in ("one", "other"):
        plot(comparison, tmp_path / name)
    for suffix in ("png", "svg"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"other.{suffix}").read_bytes()
    svg = (tmp_path / "one.svg").read_text()
    assert all(f"<!-- {arm} -->" in svg for arm in arms)


def test_plain_json_has_no_nan() -> None:
    assert without_nan({"a": [math.nan, (1.5, math.inf)], "b": "c"}) == {"a": [None, [1.5, None]], "b": "c"}


def test_gaps_are_closed_over_common_seeds() -> None:
    even, uneven = compare(HAND_MADE), compare(UNEVEN)
    for name, figure in even.figures["mine"].items():
        assert uneven.figures["mine"][name].gap_closed == pytest.approx(figure.gap_closed, nan_ok=True)
    for name, own in even.per_class.items():
        assert uneven.per_class[name].gap_closed["mine"] == pytest.approx(own.gap_closed["mine"], nan_ok=True)
    assert uneven.figures["skip"]["mAP50"].mean == pytest.approx((0.50 + 0.54 + 0.80) / 3)
    assert uneven.figures["oracle"]["mAP50"].gap_closed == 1
    assert "over the seeds that all three have" in caption(uneven)
    assert "over the seeds" not in caption(even)


def test_no_common_seed_is_no_gap() -> None:
    lone = HAND_MADE | {"mine": [result("mine", 7, 0.57, 0.28, 0.57)]}
    assert math.isnan(compare(lone).figures["mine"]["mAP50"].gap_closed)
