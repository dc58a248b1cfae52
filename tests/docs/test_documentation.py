"""Every command, data file and line of Python in README.md and docs/ is run, or says what it needs instead."""

from __future__ import annotations

import functools
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from documented import PAGES, ROOT, SMALL, blocks, typed
from tool_exports import BOX, NAMES, a_mask
from typer.testing import CliRunner

import bombo
from bombo import cli
from bombo.data.data_file import label_space, load_data_file, read_split
from bombo.engine import side_runs
from bombo.errors import ConfigError

# by test_demo.py, test_ablate_command.py and test_export_command.py in tests/engine: they take their time
RUN_ELSEWHERE = {"demo", "ablate", "export"}
TOOLS = "docs/recipes/labelling-tools.md"
LINKING = [*PAGES, "ARCHITECTURE.md", *(str(page.relative_to(ROOT)) for page in ROOT.glob("benchmarks/**/*.md"))]


def pages(language: str) -> list[str]:
    return [page for page in PAGES if blocks(page, language)]


@functools.cache
def shown_help(command: str) -> str:
    shown = CliRunner().invoke(cli.app, [command, "--help"], env={"COLUMNS": "300"}, prog_name="bombo")
    assert shown.exit_code == 0, command
    return shown.output


@pytest.mark.parametrize("page", pages("bash"))
def test_the_commands_work_as_written(
    page: str, pets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for block in blocks(page, "yaml"):
        if block.runs and block.title:
            (pets / block.title).write_text(block.text)
    for line in (line for block in blocks(page, "bash") if block.runs for line in block.lines):
        assert line.startswith("bombo "), f'what a test cannot run says so:  ```bash title="needs ..."\n{line}'
        if line.split()[1] in RUN_ELSEWHERE:
            continue
        monkeypatch.setattr("sys.argv", ["bombo", *typed(line)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code in (0, None), f"{line}\n{capsys.readouterr().err}"


@pytest.mark.parametrize("page", pages("bash"))
def test_commands_that_are_not_run_exist_with_their_options(page: str) -> None:
    for line in (line for block in blocks(page, "bash") for line in block.lines):
        words = shlex.split(re.sub(r"^torchrun .* -m ", "", line), comments=True)
        if words[0] != "bombo":
            continue
        for option in (word for word in words if word.startswith("--")):
            assert re.search(rf"{option}\b", shown_help(words[1])), f"{line}: {option}"


@pytest.mark.parametrize("page", pages("yaml"))
def test_the_data_files_can_be_read(page: str, pets: Path) -> None:
    for block in blocks(page, "yaml"):
        content = yaml.safe_load(block.text)
        if not block.runs or "train" not in content:
            continue
        file = pets / (block.title or "shown.yaml")
        file.write_text(block.text)
        data = load_data_file(file)
        for split in ("train", "val"):
            if content.get(split):
                assert read_split(data, split, label_space(data)).records  # type: ignore[arg-type]


@pytest.mark.parametrize("source", re.findall(r"`({format: .+?})`", (ROOT / TOOLS).read_text()))
def test_the_exports_of_labelling_tools_are_read_by_their_source(source: str, pets: Path) -> None:
    for block in blocks(TOOLS, "python"):  # they put files where the source looks
        exec(compile(block.text, TOOLS, "exec"), {})
    (pets / "tool.yaml").write_text(f"classes: {NAMES}\ntrain:\n  - {source}\n")
    data = load_data_file(pets / "tool.yaml")
    cat, dog = read_split(data, "train", label_space(data)).records
    for label, record in enumerate((cat, dog)):
        assert record.kind == yaml.safe_load(source)["use"]
        if record.boxes is not None:
            np.testing.assert_allclose(record.boxes.boxes, [BOX], atol=1e-3)
            assert record.boxes.labels.tolist() == [label]
        if record.mask is not None:
            np.testing.assert_array_equal(record.mask.load((48, 64)), a_mask(label + 1))


@pytest.mark.parametrize("page", pages("python"))
def test_the_python_works_as_written(page: str, pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = bombo.train
    monkeypatch.setattr(bombo, "train", lambda **given: train(**(given | SMALL)))
    scope: dict[str, object] = {}
    for block in blocks(page, "python"):
        code = compile(block.text, page, "exec")
        if block.runs:
            exec(code, scope)
            for saved in re.findall(r'\.save\("(.+?)"\)', block.text):
                assert (pets / saved).is_file()


@pytest.mark.parametrize("page", PAGES)
def test_files_shown_on_a_page_are_there(page: str) -> None:
    text = (ROOT / page).read_text()
    assert "8 <" not in text, "a formatter broke the line that shows a file; fence it as ```{.py}"
    for shown in re.findall(r'^-*8<-* *"(.+)"$', text, flags=re.MULTILINE):
        assert (ROOT / shown).is_file()


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in re.findall(r"^make (\w+)", (ROOT / page).read_text(), flags=re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"{page}: make {target}"


@pytest.mark.parametrize("page", LINKING)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", (ROOT / page).read_text()):
        assert (ROOT / page).parent.joinpath(target).exists(), target


def test_every_public_name_is_documented() -> None:
    shown = set(
        re.findall(r"^::: bombo\.[\w.]+\.(\w+)$", (ROOT / "docs/reference/python.md").read_text(), re.MULTILINE)
    )
    assert set(bombo.__all__) <= shown


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/weak-losses.md"])
def test_the_figures_are_the_measured_ones(page: str) -> None:
    ladder, present = (
        json.loads((ROOT / f"benchmarks/voc6/ablation/{name}.json").read_text())["comparison"]["figures"]
        for name in ("results", "present")
    )
    measured = ladder if page == "docs/weak-losses.md" else ladder | present  # the whole ladder is of one code
    row = r"^\|[^|]*`([\w-]+)`[^|]*(?:\| \d )?(\|\W*\d\d\.\d\b.*)$"  # arm, perhaps how many seeds, figures
    rows = re.findall(row, (ROOT / page).read_text(), flags=re.MULTILINE)
    arms = [arm for arm, _ in rows if arm in measured]
    assert {"skip", "ssl", "faithful", "bombo", "oracle"} <= set(arms)
    for arm, figures in rows:
        for name, figure in measured.get(arm, {}).items():
            assert f"{100 * figure['mean']:.1f}" in figures, f"{arm}: {name}"


def test_ablations_of_the_documented_data_begin(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its boxes are of cats and dogs only, and no image carries both annotations."""
    monkeypatch.setattr(side_runs, "make", lambda *_: False)
    given = {"data": "pets.yaml", "config": "small.yaml", "seeds": "0", "out": "abl"}
    bombo.ablate(**given, arms="only-boxes,only-masks,skip,bombo")
    boxes, masks = (yaml.safe_load((pets / "abl" / f"only-{kind}.yaml").read_text()) for kind in ("boxes", "masks"))
    assert (boxes["classes"], boxes.get("stuff")) == (["cat", "dog"], None)
    assert (masks["classes"], masks["stuff"]) == (["cat", "dog", "grass"], ["grass"])
    with pytest.raises(ConfigError, match="not every training image has both annotations") as error:
        bombo.ablate(**given, arms="skip,oracle")
    assert "--oracle FILE" in error.value.fix


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_said_of_what_is_not_there(page: str) -> None:
    for text in re.findall(r"`(?:src/bombo|tests|benchmarks|docs|examples)/[\w./-]+`", (ROOT / page).read_text()):
        assert (ROOT / text.strip("`")).exists(), text
