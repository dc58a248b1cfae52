from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bombo.engine.colours import luminance
from bombo.reporting.gather import read_ablation, read_run, run_before
from bombo.reporting.page import LINES, contributions, render
from bombo.reporting.tables import class_table, confusion_table, largest_confusions

VOID = {"meta", "link", "img", "input", "br", "hr", "source"}


class Elements(HTMLParser):
    """Checks that elements nest, and keeps what they are."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


def test_the_page_asks_in_the_order_a_person_does(tmp_path: Path, make_run: Any) -> None:
    page = Elements(render([read_run(make_run(tmp_path / "pets-1"))]))
    headings = [attributes["id"] for tag, attributes in page.seen if tag == "section"]
    assert headings == ["worked", "fed", "learned", "good-and-bad", "show", "run"]
    tables = [tag for tag, _ in page.seen if tag == "table"]
    assert len(tables) == len([tag for tag, _ in page.seen if tag == "caption"]) == 5
    for tag, attributes in page.seen:
        assert tag != "th" or attributes["scope"] in ("col", "row", "colgroup")
        assert tag != "img" or attributes["alt"]
        assert tag != "svg" or attributes.get("aria-hidden") or attributes["aria-label"]


def test_nothing_is_loaded_from_anywhere(tmp_path: Path, make_run: Any) -> None:
    page = render([read_run(make_run(tmp_path / "pets-1"))])
    assert not re.search(r"https?://|@import|url\(", page)
    for _, attributes in Elements(page).seen:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#")[:5] in ("#", "data:") or attributes[name].startswith("#")
    assert "default-src 'none'" in page


HOSTILE = "<script>alert(1)</script>\"'&{{ 7 * 7 }}"


def test_what_comes_from_files_is_escaped(tmp_path: Path, make_run: Any) -> None:
    folder = make_run(tmp_path / "x<b>", (HOSTILE, "dog", "</style>"), settings={"data": HOSTILE, "backbone": HOSTILE})
    (folder / "skipped.json").write_text('[{"image": "<img src=x onerror=y>", "error": "</script>"}]')
    other = make_run(tmp_path / "b", (HOSTILE, "dog", "</style>"))
    for runs in ([folder], [folder, other]):
        page = Elements(render([read_run(run, run.name) for run in runs]))
        assert [tag for tag, _ in page.seen].count("script") == 1
        assert not any(name.startswith("on") for _, attributes in page.seen for name in attributes)
        assert HOSTILE in page.text


def test_the_numbers_stand_against_the_run_before_and_the_ends_of_the_gap(
    tmp_path: Path, make_run: Any, make_ablation: Any
) -> None:
    make_run(tmp_path / "pets-1", quality=0.4)
    now = read_run(make_run(tmp_path / "pets-2", quality=0.55))
    folder = make_ablation(tmp_path / "abl", {"skip": 0.3, "bombo": 0.5, "oracle": 0.6})
    text = " ".join(Elements(render([now], read_ablation(folder), run_before(now))).text.split())
    assert "mAP50-95 55.0 % pets-1 40.0 +15.0 skip 30.0 +25.0 oracle 60.0 −5.0" in text
    assert "Both together (arm bombo): +20.0 points of mAP50-95 and +20.0 points of mIoU." in text
    assert "67 %" in text  # of the gap


def test_several_runs_stand_side_by_side(tmp_path: Path, make_run: Any) -> None:
    runs = [read_run(make_run(tmp_path / f"pets-{i}", quality=0.3 + 0.1 * i)) for i in (1, 2)]
    table = class_table(runs)
    assert table is not None
    above, below = table.header
    assert [head.text for head in above] == ["class", "AP50", "AP50-95", "IoU"]
    assert [head.text for head in below] == ["pets-1", "pets-2"] * 3
    assert [cell.text for cell in table.rows[0]] == ["cat", "40.0", "50.0", "20.0", "25.0", "45.0", "55.0"]
    assert [cell.kind == "best" for cell in table.rows[0][1:]] == [False, True] * 3
    page = Elements(render(runs))
    lines = [attributes["class"] for tag, attributes in page.seen if tag == "g"]
    assert set(lines) == {"run-0", "run-1"}
    assert "pets-1, pets-2" in page.text


def test_settings_that_differ_come_first(tmp_path: Path, make_run: Any) -> None:
    runs = [read_run(make_run(tmp_path / f"r{i}", settings={"lr": 0.1 * i})) for i in (1, 2)]
    rows = re.findall(r'<tr class="differs">\s*<th scope="row">(\w+)', render(runs))
    assert rows == ["lr"]


LACKS = {
    "data.json": "counts of its training images",
    "evaluation.json": "precision-recall curves and confusion matrices",
    "gallery/index.json": "pictures of the validation images",
    "metrics.jsonl": "There are no losses",
    "environment.json": "the command was not kept",
    "classes.json": None,
    "plots": None,
}


@pytest.mark.parametrize(("name", "said"), LACKS.items(), ids=LACKS)
def test_what_is_missing_is_said_with_the_command_that_makes_it(
    name: str, said: str | None, tmp_path: Path, make_run: Any
) -> None:
    text = Elements(render([read_run(make_run(tmp_path / "pets-1", without=(name,)))])).text
    assert said is None or said in text
    commanded = f"bombo report {tmp_path / 'pets-1'} --data pets.yaml" in text
    assert commanded == (name in ("data.json", "evaluation.json", "gallery/index.json"))


def test_a_run_that_has_just_begun_has_a_page(tmp_path: Path, make_run: Any) -> None:
    without = ("data.json", "evaluation.json", "gallery/index.json", "metrics.jsonl", "plots")
    text = Elements(render([read_run(make_run(tmp_path / "pets-1", without=without))])).text
    assert "pets-1 was not measured" in text


def test_a_run_that_stopped_says_so(tmp_path: Path, make_run: Any) -> None:
    page = Elements(render([read_run(make_run(tmp_path / "pets-1", done=200))]))
    assert "stopped at step 200 of 400" in page.text
    names = [attributes["aria-label"] for tag, attributes in page.seen if tag == "svg" and "aria-label" in attributes]
    assert any((name or "").startswith("b4m_label: pixels") for name in names)


def test_confusion_is_in_percent_of_each_row() -> None:
    matrix = {"names": ["cat", "dog", "nothing"], "counts": [[6, 3, 1], [0, 0, 0], [5, 5, 0]]}
    table = confusion_table(matrix, "", missed="missed")
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["cat", "60", "30", "10", "10"],
        ["dog", "", "", "", "0"],
        ["nothing", "50", "50", "", "10"],
    ]
    assert largest_confusions(matrix) == ["30\N{NO-BREAK SPACE}% of cat is taken for dog"]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_of_runs_stand_out_from_the_page(theme: int) -> None:
    style = (files("bombo.reporting") / "templates" / "style.css").read_text()
    block = style.split(":root {")[1 + theme].split("}")[0]
    colours = {name: bytes.fromhex(code) for name, code in re.findall(r"--([\w-]+): #([0-9a-f]{6});", block)}
    assert sum(name.startswith("run-") for name in colours) == LINES
    paper = luminance(np.frombuffer(colours["paper"], np.uint8))
    for name, colour in colours.items():
        if name.startswith(("run-", "ink", "soft", "accent")):
            low, high = sorted((paper, luminance(np.frombuffer(colour, np.uint8))))
            assert (high + 0.05) / (low + 0.05) >= 3, name  # WCAG 2 for graphics


def test_many_classes_are_folded(tmp_path: Path, make_run: Any) -> None:
    page = render([read_run(make_run(tmp_path / "a", tuple(f"class {i}" for i in range(20))))])
    assert page.count("<details>") == 1
    Elements(page)


def test_contributions_are_told_for_the_arms_of_the_built_in_ladder_and_over_common_seeds(
    tmp_path: Path, make_ablation: Any
) -> None:
    arms = {"skip": 0.3, "faithful-m4b": 0.4, "b4m": 0.5, "bombo": 0.6, "oracle": 0.7}
    facts = read_ablation(make_ablation(tmp_path, arms))
    comparison = facts.results["comparison"]
    comparison["seeds"]["skip"] = [0, 1]
    for figure in comparison["figures"]["skip"]:
        comparison["figures"]["skip"][figure] = {"values": [0.3, 0.9], "mean": 0.6}
    assert contributions(facts) == [
        "Boxes taught segmentation: +20.0 points of mIoU against leaving it out (arm b4m).",
        "Masks taught detection: +10.0 points of mAP50-95 against leaving it out (arm faithful-m4b).",
        "Both together (arm bombo): +30.0 points of mAP50-95 and +30.0 points of mIoU.",
        "With both annotations on every image (arm oracle) it would have been +40.0 points of mAP50-95 and "
        "+40.0 points of mIoU.",
    ]
