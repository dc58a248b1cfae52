"""Fills in what is missing: masks for images with boxes, boxes for images with masks; and says what to look at first.

bombo complete pets.yaml --model runs/pets-1
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.progress import track
from typer import Argument, Option

from bombo.box_for_mask.cache import Cached, default_folder
from bombo.box_for_mask.grabcut import GrabCut
from bombo.box_for_mask.weak_mask import LabelProvider
from bombo.command import checked
from bombo.completion import folder
from bombo.completion.complete import completed
from bombo.completion.doubt import Doubt, Facts, ranked
from bombo.completion.review import PAGE, row, write_review
from bombo.conversion.annotated import AnnotatedImage
from bombo.conversion.losses import Losses
from bombo.conversion.reading import named_for_files
from bombo.conversion.report import noted
from bombo.data.data_file import Split, label_space, load_data_file, read_split
from bombo.data.label_space import LabelSpace
from bombo.data.sample import Problems, Record
from bombo.engine.checkpoint import load
from bombo.engine.deriving import make_masks
from bombo.engine.evaluate import require_classes
from bombo.engine.model import Model
from bombo.errors import ConfigError, DataError
from bombo.files import appearing_folder, atomic_write
from bombo.wording import counted, typed

OUT = Path("completed")


@dataclass(frozen=True)
class Completion:
    """What was completed.

    Args:
        path: The folder.
        images: `mask`, `boxes`, `both`, `nothing` → number of images for which that was worked out.
        objects: Number of objects in all images.
        review: The completed images, the most doubtful first.
        losses: What the annotation that training reads could not say.
        voc: What the devkit could not say.
        skipped: Image → why it could not be used and was left out (with `skip_bad`).
    """

    path: Path
    images: dict[str, int]
    objects: int
    review: list[Doubt]
    losses: Losses
    voc: Losses
    skipped: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "path": str(self.path),
            "data": str(self.path / folder.DATA),
            "images": self.images,
            "objects": self.objects,
            "review": [row(rank, doubt) for rank, doubt in enumerate(self.review, start=1)],
            "losses": self.losses.to_json(),
            "losses_voc": self.voc.to_json(),
            "skipped": self.skipped,
        }


@checked
def complete(
    data: Annotated[Path, Argument(help="Data file that names the images.")],
    model: Annotated[
        Path, Option(help="The network: a run's folder, a weights file, or an ONNX file of bombo export.")
    ],
    split: Annotated[Split, Option(help="Which list of the data file.")] = "train",
    out: Annotated[Path, Option(help="New folder for annotation, images and review.")] = OUT,
    pictures: Annotated[int, Option(min=0, help="Images to draw, of the most doubtful ones.")] = 50,
    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    skip_bad: Annotated[bool, Option("--skip-bad", help="Leave out images whose files cannot be used.")] = False,
) -> Completion:
    """Fill in what is missing: masks for images with boxes, boxes for images with masks.

    What a person drew stays as it is, with one exception: pixels of an object's class that are in none of its boxes
    become void, and are counted. A mask respects the boxes it is made for: outside them there is no object, inside only
    their classes, and pixels nobody is sure of are void (255). Boxes respect the mask: each is tight around pixels of
    its class. Everything worked out carries a confidence.

    `OUT/review.html` and `review.csv` list the completed images, the most doubtful first. `OUT/data.yaml` is ready for
    training; `OUT/annotations.json` (COCO, run lengths) is what it reads. For labelling tools:

    - CVAT: zip the content of `OUT/voc` and import it as *PASCAL VOC 1.1* (boxes, and masks of objects), or import
      `OUT/coco/annotations/instances_default.json` as *COCO 1.0* (polygons; CVAT leaves out the boxes). The task's
      labels have the names of the classes, its images the names in `OUT/coco/images`. Scores are passed over.
    - Label Studio: `label-studio-converter import coco -i OUT/coco/annotations/instances_default.json -o tasks.json
      --out-type predictions --image-root-url /data/local-files/?d=images`, with `OUT/coco` as its local files; boxes
      and polygons become predictions.

    The folder appears when all of it is written.

    Raises:
        ConfigError: `out` exists and is not empty, or the network knows other classes.
        BomboError: Data or weights cannot be used.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError("exists already and is not overwritten", where=str(out), fix="choose another --out")
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    file = load_data_file(data)
    space = label_space(file)
    judge = load(model, device=device)
    require_classes(judge, space, data)
    found = read_split(file, split, space, skip_bad=skip_bad, partial=True, as_annotated=True)
    records = named_for_files(found.records, split, set())
    labelled = _labelled_alike(records, space, file.where(split))
    cached = Cached(GrabCut(), default_folder())
    if boxed := [record for record in records if record.kind == "boxes"]:
        make_masks(boxed, cached, space, console)
    losses, voc, problems, done = Losses(), Losses(), Problems(), list[Facts]()
    with appearing_folder(out) as root:
        folder.write(_images(records, judge, cached, done, problems, console), space, root, losses, voc)
        problems.raise_unless(skip_bad, len(records))
        review = ranked(done, space)
        write_review(review, space, root, pictures, lambda name: folder.mask_of(root, name))
        atomic_write(root / folder.DATA, folder.data_file(file, split, space, out, labelled))
        skipped = {error.where: str(error) for error in (*found.problems, *problems.errors)}
        if skipped:
            entries = [{"file": where, "error": error} for where, error in skipped.items()]
            atomic_write(root / "skipped.json", json.dumps(entries, indent=1) + "\n")
    filled = Counter(facts.filled for facts in done)
    images = {kind: filled[kind] for kind in ("mask", "boxes", "both", "nothing")}
    return Completion(out, images, sum(len(facts.boxes) for facts in done), review, losses, voc, skipped)


def describe(result: Completion) -> str:
    """The result of `complete` for a person."""
    images, out = result.images, result.path
    made = (
        ("mask", "with boxes got a mask"),
        ("boxes", "with a mask got boxes"),
        ("both", "with nothing got predictions"),
        ("nothing", "with both passed on"),
    )
    parts = [f"{counted(images[kind], 'image')} {what}" for kind, what in made if images[kind]]
    lines = [f"completed {' · '.join(parts)}", f"          {counted(result.objects, 'object')} in all"]
    if merged := sum(doubt.merged > 0 for doubt in result.review):
        lines.append(f"          regions that look like several objects: in {counted(merged, 'image')}")
    for title, losses in (("changed", result.losses), ("in voc", result.voc)):
        lines += noted(title, losses.dropped | losses.changed)
    if result.skipped:
        lines.append(f"skipped   {counted(len(result.skipped), 'image')}, see {out / 'skipped.json'}")
    if result.review:
        worst, middle = result.review[0], result.review[len(result.review) // 2]
        lines.append(
            f"doubt     {worst.doubt:.2f} at worst ({worst.facts.record.name}), {middle.doubt:.2f} in the middle"
        )
        lines.append(f"review    {out / PAGE}     start at the top")
    lines.append(
        f"import    {out / folder.COCO}, {out / folder.VOC}     CVAT and Label Studio; how: bombo complete --help"
    )
    lines.append(f"next      correct what is wrong; then   bombo check {typed(out / folder.DATA)}")
    return "\n".join(lines)


def _labelled_alike(records: Sequence[Record], space: LabelSpace, where: str) -> list[str] | None:
    """The classes that were looked for on all images, None for all classes.

    Raises:
        ConfigError: On some images others were: what is completed could not be told from what nobody looked for.
    """
    choices = {record.labelled for record in records}
    if len(choices) > 1:
        one, other = sorted(choices, key=str)[:2]
        raise ConfigError(
            f"on some images {_listed(one, space)} were looked for, on others {_listed(other, space)}",
            where=where,
            fix="write a data file for each of these sources, and complete one after the other",
        )
    only = next(iter(choices), None)
    return None if only is None else list(compress(space.names, only))


def _listed(labelled: tuple[bool, ...] | None, space: LabelSpace) -> str:
    return "all classes" if labelled is None else ", ".join(compress(space.names, labelled)) or "no classes"


def _images(
    records: Sequence[Record],
    model: Model,
    provider: LabelProvider,
    done: list[Facts],
    problems: Problems,
    console: Console,
) -> Iterator[AnnotatedImage]:
    """Completed images, one after the other; their facts go to `done`, files that cannot be used to `problems`."""
    for record in track(records, "completing", console=console, transient=True, disable=not console.is_terminal):
        try:
            image = completed(record, model, provider)
        except DataError as error:
            problems.add(error)
            continue
        done.append(Facts.of(image, model.space))
        yield image.image
