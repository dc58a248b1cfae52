"""Pictures inside the page: files as data URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from bombo.engine.gallery import VIEWS
from bombo.engine.run_folder import GALLERY
from bombo.engine.training_plots import PLOTS
from bombo.errors import BomboError
from bombo.reporting.gather import RunFacts

_TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".svg": "image/svg+xml"}
_SHEETS, _SHEET_WIDTH = 2, 2000  # pictures of batches, and the width they are brought down to


@dataclass(frozen=True)
class Picture:
    """A validation image: `views` are (view, data URI); the others are what its caption says."""

    name: str
    carries: str
    quality: float
    size: tuple[int, int]
    views: list[tuple[str, str]]


def data_uri(file: Path) -> str:
    """The whole file as a URI.

    Raises:
        BomboError: It cannot be read.
    """
    try:
        return _uri(file.read_bytes(), _TYPES[file.suffix])
    except OSError as error:
        raise BomboError(f"cannot be read ({error.strerror or error})", where=str(file)) from None


def training_sheets(run: RunFacts) -> list[str]:
    """The first batches as the network saw them, as data URIs."""
    sheets = []
    for file in sorted((run.path / PLOTS).glob("batch-*.jpg"))[:_SHEETS]:
        try:
            with Image.open(file) as opened:
                picture = opened.convert("RGB")
        except OSError as error:
            fix = "delete it: the report goes without"
            raise BomboError(f"cannot be read ({error})", where=str(file), fix=fix) from None
        picture.thumbnail((_SHEET_WIDTH, 10 * _SHEET_WIDTH), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=80)
        sheets.append(_uri(buffer.getvalue(), _TYPES[".jpg"]))
    return sheets


def gallery(run: RunFacts) -> dict[str, list[Picture]]:
    """Group → its pictures; a picture of two groups is in the first of them."""
    if run.gallery is None:
        return {}
    images, shown = run.gallery["images"], set()
    groups: dict[str, list[Picture]] = {}
    for group, names in run.gallery["groups"].items():
        groups[group] = []
        for name in names:
            if name in shown:
                continue
            shown.add(name)
            own = images[name]
            files = [(view, run.path / GALLERY / f"{own['number']:02}-{view}.jpg") for view in VIEWS]
            views = [(view, data_uri(file)) for view, file in files]
            groups[group].append(Picture(name, own["annotation"], own["quality"], tuple(own["size"]), views))
    return groups


def _uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
