from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from defects import DEFECTS, Damage


@pytest.mark.parametrize(("form", "damage", "code", "severity", "says"), DEFECTS.values(), ids=DEFECTS)
def test_every_defect_is_named_with_its_place_and_remedy(
    form: str,
    damage: Damage,
    code: str,
    severity: str,
    says: str,
    copy: Callable[[str], Path],
    findings: Callable[..., dict[str, Any]],
) -> None:
    data = copy(form)
    damage(data.parent)
    found = findings(data)
    assert code in found
    assert found[code]["severity"] == severity
    assert any(says in example for example in found[code]["examples"])
    assert found[code]["count"] == len(found[code]["examples"])
    assert found[code]["fix"]
    if code.startswith("box-") and code != "box-corners":
        assert "annotation-refused" not in found  # the reader's word on the same box


@pytest.mark.parametrize("form", ["voc", "coco", "yolo", "folder"])
def test_sound_data_earns_neither_error_nor_warning(
    form: str, copy: Callable[[str], Path], findings: Callable[..., dict[str, Any]]
) -> None:
    found = findings(copy(form), "--strict")
    assert not [finding for finding in found.values() if finding["severity"] != "note"]
