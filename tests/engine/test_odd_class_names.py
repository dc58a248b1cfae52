"""Names that mean something to the terminal's markup, to formulas in plots, or to HTML are names all the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from quick import QUICK

NAMES = ["car [old]", "a [/b]", "US$_{ $", "<b>"]


def test_names_with_marks_are_shown_as_they_are(tmp_path: Path, bombo_command: Any) -> None:
    for name in ("train", "val"):
        (tmp_path / name / "images").mkdir(parents=True)
        (tmp_path / name / "masks").mkdir()
        for number in range(4):
            picture = np.random.default_rng(number + (name == "val") * 9).integers(0, 255, (64, 64, 3), np.uint8)
            mask = np.zeros((64, 64), np.uint8)
            mask[8:40, 8:40] = number + 1
            Image.fromarray(picture).save(tmp_path / name / "images" / f"{number}.png")
            Image.fromarray(mask).save(tmp_path / name / "masks" / f"{number}.png")
    sources = {
        split: [{"format": "folder", "root": split, "names": NAMES, "use": "masks"}] for split in ("train", "val")
    }
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(sources))
    checked = bombo_command("check", tmp_path / "data.yaml")
    trained = bombo_command("train", data=tmp_path / "data.yaml", out=tmp_path / "run", steps=1, **QUICK)
    assert (checked.code, trained.code) == (0, 0), trained.err
    for ended in (checked, trained):
        for name in NAMES:
            assert re.search(rf"^ *{re.escape(name)} ", ended.out, re.MULTILINE)
