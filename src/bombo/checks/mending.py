"""Mends annotation as readers meet it, by the judgement of the check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element

from bombo.checks import coco_mend, voc_file, yolo_file
from bombo.checks.finding import Repaired
from bombo.data.annotation_io import Content
from bombo.data.sources import CocoSource


@dataclass
class Mending:
    """See `bombo.data.annotation_io.Mend`; takes note of what was done."""

    done: list[Repaired] = field(default_factory=list)

    def voc(self, annotation: Element, path: Path) -> None:
        """Mends the objects of an XML in place."""
        self.done += voc_file.mend(annotation, path)

    def coco(self, content: Content, source: CocoSource) -> Content:
        """The content of an instances JSON, mended."""
        content, done = coco_mend.mend(content, source)
        self.done += done
        return content

    def yolo(self, rows: Sequence[str], path: Path, size: tuple[int, int]) -> list[str]:
        """The rows of a label file, mended; (height, width) of its image."""
        made, done = yolo_file.mend(rows, path, size)
        self.done += done
        return made
