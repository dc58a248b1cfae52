from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bombo.errors import BomboError
from bombo.reporting.gather import read_run
from bombo.reporting.page import render
from bombo.reporting.pseudo_labels import measured_on, rightness, strips, table


def test_a_chart_for_every_figure_beside_what_it_is_without_the_teacher(tmp_path: Path, make_run: Any) -> None:
    run = read_run(make_run(tmp_path / "a", followed=True))
    drawn = rightness([run])
    assert drawn is not None
    titles = [chart.title for chart in drawn.charts]
    assert titles == [
        "masks made of boxes: mIoU",
        "masks made of boxes: coverage",
        "boxes made of masks: recall",
        "boxes made of masks: precision",
    ]
    assert [chart.level and chart.level.name for chart in drawn.charts] == [
        "no teacher 60.0",
        "no teacher 95.0",
        "no teacher 70.0",
        None,
    ]
    assert [chart.lines[0].name for chart in drawn.charts] == ["80", "90", "70", "80"]
    assert [mark.name for mark in drawn.charts[0].marks] == ["teacher asked", "trusted"]
    page = render([run])
    assert "Measured on 12 validation images that carry both annotations" in page
    assert "<summary>The same as a table</summary>" in page


def test_the_table_has_a_row_for_every_time_and_one_without_the_teacher(tmp_path: Path, make_run: Any) -> None:
    runs = [read_run(make_run(tmp_path / name, steps=200, followed=True), name) for name in ("a", "b")]
    for shown, before in ((runs[:1], [""]), (runs, ["a, ", "b, "])):
        found = table(shown)
        assert found is not None
        rows = [[cell.text for cell in row] for row in found.rows]
        expected = [
            ["step 100", "70.0", "90.0", "70.0", "65.0"],
            ["step 200", "80.0", "90.0", "70.0", "80.0"],
            ["without the teacher", "60.0", "95.0", "70.0", "–"],
        ]
        assert rows == [[name + row[0], *row[1:]] for name in before for row in expected]
    assert [(head.text, head.columns) for head in table(runs[:1]).header[0]] == [  # type: ignore[union-attr]
        ("", 1),
        ("masks made of boxes", 2),
        ("boxes made of masks", 2),
    ]


def test_one_evaluation_makes_a_table_and_no_chart(tmp_path: Path, make_run: Any) -> None:
    run = read_run(make_run(tmp_path / "a", steps=100, followed=True))
    assert rightness([run]) is None
    page = render([run])
    assert "How right the pseudo-labels were, in percent." in page
    assert "The same as a table" not in page


def test_runs_that_differ_without_the_teacher_have_no_common_line(tmp_path: Path, make_run: Any) -> None:
    folders = [make_run(tmp_path / name, followed=True) for name in ("a", "b")]
    metrics = folders[1] / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"provider_mIoU": 0.6', '"provider_mIoU": 0.5'))
    drawn = rightness([read_run(folder, folder.name) for folder in folders])
    assert drawn is not None
    assert [chart.level is None for chart in drawn.charts] == [True, False, False, True]


def test_strips_show_the_annotation_and_then_every_step(tmp_path: Path, make_run: Any) -> None:
    folder = make_run(tmp_path / "a", steps=200, followed=True)
    (folder / "pseudo_labels" / "1-900.jpg").write_bytes(b"of a run that was gone back from")
    drawn = strips(read_run(folder))
    assert [(strip.name, [caption for caption, _ in strip.pictures]) for strip in drawn] == [
        ("d.jpg", ["its boxes", "step 100", "step 200"]),
        ("e.jpg", ["its mask", "step 100", "step 200"]),
    ]
    assert 'alt="d.jpg, step 100"' in render([read_run(folder)])


def test_what_was_not_measured_is_said(tmp_path: Path, make_run: Any) -> None:
    old, skip = (read_run(make_run(tmp_path / method, method=method), method) for method in ("bombo", "skip"))
    assert measured_on([old]) == ""
    assert strips(old) == []
    said = "is not known: that takes validation images with both annotations"
    assert said in render([old])
    assert said not in render([skip])


@pytest.mark.parametrize("content", ["{", '[{"name": "a"}]', "[1]"], ids=["half", "no kind", "no pairs"])
def test_a_damaged_index_is_named(content: str, tmp_path: Path, make_run: Any) -> None:
    folder = make_run(tmp_path / "a", followed=True)
    index = folder / "pseudo_labels" / "index.json"
    index.write_text(content)
    with pytest.raises(BomboError, match="cannot be read") as caught:
        strips(read_run(folder))
    assert caught.value.where == str(index)
