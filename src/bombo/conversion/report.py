"""What a conversion has to tell: how much went in and came out, and what was lost."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bombo.conversion.losses import Losses, Note
from bombo.wording import counted

_WIDTH = 10  # of the first column


@dataclass
class Conversion:
    """What was converted, and what was lost.

    Args:
        source: What was read, in words.
        target: The folder or JSON that was written.
        data: The data file that reads it.
        report: The JSON of all this.
        images: Images read by what they carried, `boxes`, `masks`, `both`; `out`, how many were written.
        objects: `in`, boxes that were read; `components`, found in masks; `from_masks`, boxes made of these; `split`
            and `merged`, components that a network took apart and put together; `out`, boxes written.
        masks: `in`, `from_boxes` and `out`; `pixels` of all that came out, `void_in` and `void_out` of those.
        look_like_several: Components that are far larger than others of their class.
        losses: What is not in the target, or not as it was.
        skipped: File → why it was left out.
    """

    source: str
    target: Path
    data: Path
    report: Path
    images: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("boxes", "masks", "both", "out"), 0))
    objects: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("in", "components", "from_masks", "split", "merged", "out"), 0)
    )
    masks: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("in", "from_boxes", "out", "pixels", "void_in", "void_out"), 0)
    )
    look_like_several: list[str] = field(default_factory=list)
    losses: Losses = field(default_factory=Losses)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def lossless(self) -> bool:
        """Whether all that was read is in the target as it was."""
        return not (self.losses.dropped or self.losses.changed or self.skipped)

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "source": self.source,
            "target": str(self.target),
            "data": str(self.data),
            "lossless": self.lossless,
            "images": self.images,
            "objects": self.objects,
            "masks": self.masks,
            **self.losses.to_json(),
            "look_like_several": self.look_like_several,
            "skipped": self.skipped,
        }

    def describe(self, *, judged: bool = False) -> str:
        """The same for a person.

        Args:
            judged: Whether a network took components apart.
        """
        images, read = self.images, sum(self.images[kind] for kind in ("boxes", "masks", "both"))
        kinds = (("boxes", "with boxes only"), ("masks", "with masks only"), ("both", "with both"))
        carried = " · ".join(f"{images[kind]:,} {words}" for kind, words in kinds if images[kind])
        lines = [_line("read", self.source), _line("", f"{counted(read, 'image')}: {carried}")]
        if self.objects["in"] or self.objects["components"]:
            lines.append(_line("objects", self._objects()))
        if self.objects["components"]:
            lines += [_line("", text) for text in self._components(judged)]
        if self.masks["out"] or self.masks["in"]:
            lines.append(_line("masks", self._masks()))
        if self.masks["from_boxes"]:
            lines.append(_line("", "masks made of boxes are guesses: `bombo derive` shows and measures them"))
        lines += noted("dropped", self.losses.dropped)
        lines += noted("changed", self.losses.changed)
        if self.skipped:
            skipped = counted(len(self.skipped), "file")
            lines.append(_line("skipped", f"{skipped} that cannot be used, see {self.report}"))
        if self.lossless:
            lines.append(_line("lost", "nothing"))
        written = counted(images["out"], "image")
        lines.append(_line("wrote", f"{self.target}   {written}   the losses in full: {self.report}"))
        return "\n".join([*lines, _line("next", f"bombo train --data {shlex.quote(str(self.data))}")])

    def _objects(self) -> str:
        made = f" + {self.objects['from_masks']:,} made of masks" if self.objects["components"] else ""
        return f"{counted(self.objects['in'], 'box')} read{made} → {self.objects['out']:,} written"

    def _components(self, judged: bool) -> list[str]:
        counts = self.objects
        found = f"{counted(counts['components'], 'component')} of {counted(self.masks['in'], 'mask')}"
        text = [f"{found} → {counted(counts['from_masks'], 'box')}"]
        if judged:
            split = counted(counts["split"], "component")
            text.append(f"the network split {split} and put {counts['merged']:,} together")
        if several := self.look_like_several:
            larger = "over 3 times the median of their class"
            text.append(f"{len(several):,} look like several objects that touch ({larger}): {several[0]}")
            if not judged:
                text.append("a trained network splits them: --model RUN")
        return text

    def _masks(self) -> str:
        counts = self.masks
        made = f" + {counts['from_boxes']:,} made of boxes" if counts["from_boxes"] else ""
        void = f", {100 * counts['void_out'] / counts['pixels']:.1f} % of their pixels void" if counts["pixels"] else ""
        return f"{counts['in']:,} read{made} → {counts['out']:,} written{void}"


def noted(title: str, notes: dict[str, Note]) -> list[str]:
    """Lines of a report, the title before the first; the most frequent one first."""
    ordered = sorted(notes.items(), key=lambda item: -item[1].count)
    return [
        _line("" if number else title, f"{note.count:>7,} {what}     {', '.join(note.examples)}")
        for number, (what, note) in enumerate(ordered)
    ]


def _line(title: str, text: str) -> str:
    return f"{title:<{_WIDTH}}{text}".rstrip()
