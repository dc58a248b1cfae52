"""Runs a network over pictures and writes what it sees."""

from __future__ import annotations

import glob
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator
from typer import Argument, Option

from bombo import distributed
from bombo.command import checked
from bombo.data.image_io import IMAGE_SUFFIXES, read_image
from bombo.engine.checkpoint import load
from bombo.engine.device import choose_device
from bombo.engine.result import Result
from bombo.engine.tiles import check_tile
from bombo.errors import BomboError, DataError
from bombo.files import atomic_write
from bombo.models.precision import Precision

OUT, MIN_SCORE = Path("predictions"), 0.3
_PICTURES = ("overlays", "masks")
_LARGEST_JPEG = 65_500  # pixels a side


@checked
def predict(
    model: Annotated[Path, Argument(help="A run's folder, a weights file, or an ONNX file of bombo export.")],
    source: Annotated[
        list[Path],
        BeforeValidator(lambda value: [value] if isinstance(value, (str, Path)) else value),
        Argument(help="Images, folders or patterns such as 'photos/*.jpg'."),
    ],
    out: Annotated[Path, Option(help="Folder for overlays, masks and predictions.json.")] = OUT,
    min_score: Annotated[float, Option(min=0, max=1, help="Leave out detections below this score.")] = MIN_SCORE,
    tile: Annotated[
        int | None, Option(metavar="N", help="For large images: look in overlapping windows of N x N of their pixels.")
    ] = None,
    batch_size: Annotated[int, Option(min=1, help="Images, or windows, per forward pass.")] = 8,
    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[Precision, Option(help="Number format of the forward pass.")] = "auto",
    overwrite: Annotated[bool, Option("--overwrite", help="Write into a folder that holds predictions.")] = False,
    skip_bad: Annotated[bool, Option("--skip-bad", help="Leave out files that cannot be read.")] = False,
) -> list[dict[str, Any]]:
    """Detect and segment: writes overlays, mask PNGs and COCO results.

    `OUT/overlays/*.jpg` shows boxes and masks, `OUT/masks/*.png` holds class values (0 background, then the classes in
    order), `OUT/predictions.json` lists the boxes as COCO results with `file_name` and `category_name` beside the ids,
    and `OUT/skipped.json` the files left out, if any. Under `torchrun` the images are dealt to the processes.

    With `tile`, an image is seen in windows that overlap by a quarter; boxes and masks are put together. Objects should
    be about as large in a window as they were in the training images: so should, in pixels, the tile.

    Returns:
        The COCO results of all images.

    Raises:
        BomboError: Weights or images cannot be used, or `out` holds predictions already.
        ConfigError: The tile is too small.
    """
    check_tile(tile)
    files = list({file.resolve(): file for item in source for file in find_images(item)}.values())
    written = [(out / name).resolve() for name in _PICTURES]  # a folder of photos may hold what was written last time
    files = [file for file in files if not any(folder in file.resolve().parents for folder in written)]
    if not files:
        raise BomboError(
            "holds nothing but what was written there before",
            where=", ".join(map(str, source)),
            fix="give the folder of the photos, or choose another --out",
        )
    listing, left_out = out / "predictions.json", out / "skipped.json"
    distributed.start(choose_device(device)[0])
    if distributed.is_main() and not overwrite:
        for held in (listing, *(out / name for name in _PICTURES)):
            if held.exists():
                fix = "choose another --out, or add --overwrite"
                raise BomboError(f"holds {held.name} already", where=str(out), fix=fix)
    distributed.barrier()  # nobody writes before the main process has looked
    network = load(model, device=device, precision=precision)
    names = _distinct(files)
    mine = range(distributed.rank(), len(files), distributed.world())
    entries: list[dict[str, Any]] = []
    skipped: list[tuple[str, str]] = []
    at_once = 1 if tile else batch_size  # large images are not held side by side
    for start in range(0, len(mine), at_once):
        images = _readable(files, mine[start : start + at_once], skip_bad, skipped)
        seen = network.stream(images.values(), min_score=min_score, batch_size=batch_size, tile=tile)
        for index, result in zip(images, seen, strict=True):
            entries += [{**entry, "file_name": str(files[index])} for entry in result.to_coco(index + 1)]
            _write(result, out, names[index])
    gathered, all_skipped = distributed.gather(entries), distributed.gather(skipped)
    entries = sorted((entry for part in gathered for entry in part), key=lambda entry: entry["image_id"])
    if distributed.is_main():
        atomic_write(listing, json.dumps(entries, indent=1) + "\n")
        left_out.unlink(missing_ok=True)
        if bad := sorted(pair for part in all_skipped for pair in part):
            atomic_write(left_out, json.dumps([{"file": file, "error": error} for file, error in bad], indent=1) + "\n")
    return entries


def find_images(item: str | Path) -> list[Path]:
    """Images named by a file, a folder (searched with its subfolders) or a glob pattern, sorted.

    Raises:
        DataError: There are none.
    """
    path = Path(item)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    else:
        names = sorted(glob.glob(str(item), recursive=True))  # noqa: PTH207 - the pattern may be absolute
        found = [Path(name) for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise DataError(
            "no images were found", where=str(item), fix=f"give a file, folder or pattern; known: {_suffixes()}"
        )
    return found


def _readable(
    files: Sequence[Path], batch: Sequence[int], skip_bad: bool, skipped: list[tuple[str, str]]
) -> dict[int, np.ndarray]:
    """Images of a batch by their indices; with `skip_bad`, files that cannot be read are noted instead."""
    images: dict[int, np.ndarray] = {}
    for index in batch:
        try:
            images[index] = read_image(files[index])
        except DataError as error:
            if not skip_bad:
                fix = f"{error.fix}; or leave such files out: --skip-bad --overwrite"
                raise DataError(error.message, where=error.where, fix=fix) from None
            skipped.append((str(files[index]), error.message))
    return images


def _write(result: Result, out: Path, name: str) -> None:
    buffer = io.BytesIO()
    overlay = result.plot().convert("RGB")
    overlay.thumbnail((_LARGEST_JPEG, _LARGEST_JPEG))
    overlay.save(buffer, "JPEG", quality=92)
    atomic_write(out / "overlays" / f"{name}.jpg", buffer.getvalue())
    result.save_mask(out / "masks" / f"{name}.png")


def _distinct(files: Sequence[Path]) -> list[str]:
    """Output names: the stems, with a number where several files share one."""
    seen: dict[str, int] = {}
    names = []
    taken = {file.stem for file in files}
    for file in files:
        name = file.stem
        count = seen.get(file.stem, 0)
        while count and name in taken:
            count += 1
            name = f"{file.stem}-{count}"
        seen[file.stem] = max(count, 1)
        taken.add(name)
        names.append(name)
    return names


def _suffixes() -> str:
    return ", ".join(sorted(IMAGE_SUFFIXES))
