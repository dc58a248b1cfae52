from __future__ import annotations

from pathlib import Path

import pytest

from bombo.box_for_mask.agreement import Agreement
from bombo.box_for_mask.grabcut import GrabCut
from bombo.box_for_mask.providers import provider_called
from bombo.box_for_mask.shapes import Ellipse, Fill, Inner
from bombo.box_for_mask.weak_mask import LabelProvider
from bombo.errors import ConfigError


@pytest.mark.parametrize(
    ("word", "provider"),
    [
        ("fill", Fill()),
        ("ellipse", Ellipse()),
        ("inner", Inner()),
        ("grabcut", GrabCut()),
        ("grabcut+ellipse", Agreement(GrabCut(), Ellipse())),
        ("fill+inner", Agreement(Fill(), Inner())),
    ],
)
def test_providers_by_name(word: str, provider: LabelProvider) -> None:
    assert provider_called(word) == provider


def test_a_folder(tmp_path: Path) -> None:
    assert provider_called(str(tmp_path)) == tmp_path
    (tmp_path / "sam+mcg").mkdir()
    assert provider_called(str(tmp_path / "sam+mcg")) == tmp_path / "sam+mcg"


def test_a_name_means_the_provider_whatever_lies_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grabcut", "grabcut+fill"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert provider_called("grabcut") == GrabCut()
    assert provider_called("grabcut+fill") == Agreement(GrabCut(), Fill())
    assert provider_called("./grabcut") == Path("grabcut")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        pytest.param("grabcat", "`grabcat` makes no masks.*Did you mean `grabcut`", id="a typo"),
        pytest.param("fill+elipse", "`elipse` makes no masks.*Did you mean `ellipse`", id="a typo in the second"),
        pytest.param("/no/such/folder", "nor is it a folder.*Known: grabcut", id="no folder"),
        pytest.param("fill+", "`` makes no masks", id="nothing after the plus"),
        pytest.param("fill+ellipse+inner", "two providers can be asked to agree, not 3", id="three"),
    ],
)
def test_what_is_none_of_them(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        provider_called(word)
    assert caught.value.where == "mask_provider"
