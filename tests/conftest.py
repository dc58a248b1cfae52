"""Fixtures every test may use: a tiny world, a tiny network, and `bombo` command lines run in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import bombo
from bombo import cli
from bombo.data.writers import write_demo
from quick import QUICK

SMALL = QUICK | {"device": "cpu", "precision": "32"}


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data file with 4 box images and 4 mask images to train on and 4 fully annotated ones to validate on."""
    return write_demo(tmp_path_factory.mktemp("world"), train=8, val=4, size=64)


@pytest.fixture
def small(world: Path) -> dict[str, Any]:
    return {"data": world, **SMALL}


@pytest.fixture(scope="session")
def trained(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run whose network sees something: biased towards detections, since eight steps teach little."""
    out = tmp_path_factory.mktemp("runs") / "trained"
    bombo.train(data=world, out=out, steps=8, lr=5e-3, warmup=0.0, ema=0.0, eval_every=0, **SMALL)
    return out


@pytest.fixture
def bombo_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Types a command line; a traceback fails the test by itself, as the exception comes through."""

    def run(*words: object, **settings: object) -> Ended:
        options = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        monkeypatch.setattr("sys.argv", ["bombo", *map(str, words), *options])
        monkeypatch.setenv("COLUMNS", "120")
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        code = end.value.code
        assert code is None or isinstance(code, int)
        return Ended(code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def devkit(world: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes another data file for the same images: `devkit(train=[("train_boxes", "boxes")])`."""

    def write(extra: str = "stuff: [water]", **splits: list[tuple[str, str]]) -> Path:
        root = world.parent / "devkit"
        lines = [extra]
        for split, sources in splits.items():
            lines.append(f"{split}:")
            lines += [f"  - {{format: voc, root: {root}, list: {name}, use: {use}}}" for name, use in sources]
        file = tmp_path / "data.yaml"
        file.write_text("\n".join(lines) + "\n")
        return file

    return write


@pytest.fixture
def same() -> Callable[[Any, Any], bool]:
    """Whether two structures of plain types and tensors are equal, tensors bit for bit."""

    def equal(one: Any, other: Any) -> bool:
        if isinstance(one, torch.Tensor):
            return one.dtype == other.dtype and torch.equal(one, other)
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
        if isinstance(one, (list, tuple)):
            return len(one) == len(other) and all(map(equal, one, other))
        return bool(one == other)

    return equal


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Masks made of boxes go to a folder of the tests, not to the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(__file__).parents[1] / ".." / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real images are not here (../shared/data)")
    return folder.resolve()
