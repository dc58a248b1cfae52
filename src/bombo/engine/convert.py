"""Between VOC, COCO, YOLO and folders of masks; boxes out of masks and masks out of boxes; and what is lost on the way.

bombo convert VOCdevkit/VOC2012 voc_as_coco --to coco
bombo convert pets.yaml pets_boxes.json --boxes-from-masks
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from bombo.checks.mending import Mending
from bombo.command import checked
from bombo.conversion.deriving import BoxMaker, mask_maker, require_common_classes
from bombo.conversion.reading import read, require_readable
from bombo.conversion.recognise import Recognised, recognise
from bombo.conversion.report import Conversion
from bombo.conversion.target import Format, data_file_content, data_file_name, write_part, yolo_yamls
from bombo.conversion.work import Work
from bombo.data.data_file import Split
from bombo.engine.checkpoint import load
from bombo.engine.repair import repaired
from bombo.errors import BomboError, ConfigError
from bombo.files import appearing_folder, atomic_write

REPORT = "conversion.json"


@checked
def convert(
    src: Annotated[Path, Argument(help="A data file, or a VOC, COCO, YOLO or mask data set.")],
    dst: Annotated[Path, Argument(help="A new folder; or a new .json, for COCO without its images.")],
    to: Annotated[Format | None, Option(help="Format to write; a .json says coco.")] = None,
    split: Annotated[Split | None, Option(help="Convert only this list; otherwise all.")] = None,
    boxes_from_masks: Annotated[
        bool, Option("--boxes-from-masks", help="Make boxes for images with masks only: one for each component.")
    ] = False,
    masks_from_boxes: Annotated[
        str | None,
        Option(help="Make masks for images with boxes only: by grabcut, ellipse, fill, inner, or grabcut+ellipse."),
    ] = None,
    model: Annotated[Path | None, Option(help="A run that splits, merges and scores components.")] = None,
    images: Annotated[Path | None, Option(help="Folder of the images, if they are not found.")] = None,
    names: Annotated[str | None, Option(help="What mask values mean: cat,dog for 1, 2; or 255=cat.")] = None,
    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    skip_bad: Annotated[bool, Option("--skip-bad", help="Leave out files that cannot be used.")] = False,
    repair: Annotated[
        bool, Option("--repair", help="Mend what `bombo check` names, and leave out what cannot be mended.")
    ] = False,
) -> Conversion:
    """Convert between formats, make boxes of masks and masks of boxes, and tell what is lost.

    Images are brought along (as links to the same file where the disk allows it); a data file for `bombo train` and the
    report `conversion.json` are written beside them. All classes are kept, whichever the data file uses. Where the
    target is a .json, images stay where they are.

    `repair` puts corners in order, brings boxes to the right unit, cuts them to their images, leaves out those that
    cannot be (with an outline, its extent takes their place) and those that stand twice; resizes and renumbers masks,
    and makes what is no class void; saves images upright; joins what two sources of a list say of one image; and leaves
    out images that cannot be used, or that stand in another list, too.

    Raises:
        ConfigError: The source is not recognised, the target exists or cannot say it, or options do not fit.
        DataError: Images cannot be used.
        BomboError: What was written does not read back as it was.
    """
    target = _format(dst, to)
    if model is not None and not boxes_from_masks:
        fix = "add --boxes-from-masks; masks that a network refines are made by `bombo complete`"
        raise ConfigError("the network judges boxes made of masks", where="model", fix=fix)
    alone = dst.suffix.lower() == ".json"
    if alone and repair:
        fix = "name a new folder, and add --to coco"
        raise ConfigError("a repair saves images anew, and a .json leaves them where they are", where=str(dst), fix=fix)
    _require_free(dst, alone)
    found = recognise(src, images, names)
    if split and split not in found.splits:
        fix = f"choose one of {', '.join(found.splits)}, or leave --split out"
        raise ConfigError(f"there are no sources for `{split}`", where=str(src), fix=fix)
    splits = (split,) if split else found.splits
    data = dst.with_suffix(".yaml") if alone else dst / data_file_name(target)
    result = Conversion(found.what, dst, data, dst.with_suffix(f".{REPORT}") if alone else dst / REPORT)
    mending = Mending() if repair else None
    skip_bad |= repair
    content = read(found, splits, result.losses, to_coco=target == "coco", skip_bad=skip_bad, mend=mending)
    result.skipped = {error.where: error.message for error in content.skipped}
    if mending is not None:
        content = repaired(content, mending, result)
    work = Work(target, content, result, skip_bad, upright=repair)
    if boxes_from_masks:
        judge = None if model is None else load(model, device=device)
        work.boxes = BoxMaker(content.space, judge, result.losses)
        if judge is not None:
            for name in require_common_classes(judge, content.space):
                result.losses.change("classes the network does not know: their components stay as they are", name)
    if masks_from_boxes is not None:
        work.masks = mask_maker(masks_from_boxes, content.space)
    work.require_something_to_do(str(src))
    if alone:
        _write_json(dst, work, found)
    else:
        _write_folder(dst, work, found)
    return result


def _format(dst: Path, to: Format | None) -> Format:
    alone = dst.suffix.lower() == ".json"
    if to is None and not alone:
        raise ConfigError("which format to write is not said", where=str(dst), fix="add --to voc, coco, yolo or folder")
    if alone and to not in (None, "coco"):
        raise ConfigError(f"a .json is no {to} data set", where=str(dst), fix="name a new folder, or write --to coco")
    return to or "coco"


def _require_free(dst: Path, alone: bool) -> None:
    if alone:
        files = dst, dst.with_suffix(".yaml"), dst.with_suffix(f".{REPORT}")
        taken = next((path for path in files if path.exists()), None)
    else:
        taken = dst if dst.is_file() or (dst.is_dir() and any(dst.iterdir())) else None
    if taken is not None:
        raise ConfigError("exists already and is not overwritten", where=str(taken), fix="choose another name")


def _write_folder(dst: Path, work: Work, found: Recognised) -> None:
    parts = work.parts()
    with appearing_folder(dst) as root:
        for part, records in parts:
            write_part(work.to, work.stream(records, part), work.content.space, root, part, work.result.losses)
        written = [part for part, _ in parts]
        texts = yolo_yamls(dst, written, work.content.space) if work.to == "yolo" else {}
        texts[work.result.data.name] = data_file_content(
            work.to, written, work.content.space, found.data, dst, None, work.result.losses
        )
        work.finish()
        texts[REPORT] = _report(work.result)
        for name, text in texts.items():
            atomic_write(root / name, text)
        _require_readable(root / work.result.data.name, work)


def _write_json(dst: Path, work: Work, found: Recognised) -> None:
    parts = work.parts()
    if len(parts) > 1:
        raise ConfigError(
            f"one .json holds one list of images with one kind of annotation; these are {len(parts)}: "
            f"{', '.join(part.name for part, _ in parts)}",
            where=str(dst),
            fix="choose a list with --split, or name a new folder and add --to coco",
        )
    part, records = parts[0]
    part = replace(part, images=Path(os.path.commonpath([record.image.resolve().parent for record in records])))
    write_part("coco", work.stream(records, part), work.content.space, dst, part, work.result.losses)
    content = data_file_content("coco", [part], work.content.space, found.data, dst.parent, dst, work.result.losses)
    atomic_write(work.result.data, content)
    work.finish()
    try:
        _require_readable(work.result.data, work)
    except BomboError:
        dst.unlink()
        work.result.data.unlink()
        raise
    atomic_write(work.result.report, _report(work.result))


def _require_readable(file: Path, work: Work) -> None:
    result = work.result
    require_readable(file, work.content.space, result.images["out"], result.objects["out"])


def _report(result: Conversion) -> str:
    return json.dumps(result.to_json(), indent=1, ensure_ascii=False) + "\n"
