from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bombo.errors import BomboError
from bombo.files import atomic_write, next_free


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"\x00\xff", b"\x00\xff"), ("Zürich\n", b"Z\xc3\xbcrich\n"), ("a\r\nb", b"a\r\nb"), ("", b"")],
    ids=["bytes", "text is utf-8", "line ends stay", "empty"],
)
def test_writes_exactly_the_bytes(tmp_path: Path, data: bytes | str, expected: bytes) -> None:
    path = tmp_path / "new" / "folder" / "file"
    atomic_write(path, data)
    assert path.read_bytes() == expected
    assert list(path.parent.iterdir()) == [path]


def test_replaces_an_existing_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_write(path, "a long first version")
    atomic_write(path, "second")
    assert path.read_text() == "second"


def _disk_full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _ctrl_c(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("broken", "failure", "raised"),
    [
        ((os, "fsync"), _disk_full, BomboError),
        ((Path, "replace"), _disk_full, BomboError),
        ((os, "fsync"), _ctrl_c, KeyboardInterrupt),
    ],
    ids=["full while writing", "full while renaming", "ctrl-c"],
)
def test_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: tuple[object, str], failure: object, raised: type
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(*broken, failure)
    with pytest.raises(raised) as caught:
        atomic_write(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    if raised is BomboError:
        assert "No space left on device" in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(BomboError, match="cannot be written"):
        atomic_write(tmp_path / "runs" / "x.json", "{}")


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        ([], "pets-1"),
        (["pets-1", "pets-2"], "pets-3"),
        (["pets-3"], "pets-4"),
        (["pets-9", "pets-10"], "pets-11"),
        (["pets-x", "pets-1-old", "pets-1.json", "pets", "mypets-5", "pets-007"], "pets-1"),
    ],
    ids=["none", "after the last", "gaps stay", "by number not by text", "other names do not count"],
)
def test_next_free(tmp_path: Path, existing: list[str], expected: str) -> None:
    for name in existing:
        (tmp_path / name).mkdir()
    assert next_free(tmp_path, "pets") == tmp_path / expected


def test_next_free_takes_the_stem_literally_and_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "abc-1").mkdir()
    assert next_free(tmp_path, "a.c") == tmp_path / "a.c-1"
    assert next_free(tmp_path / "not there", "a") == tmp_path / "not there" / "a-1"
    assert not (tmp_path / "not there").exists()
