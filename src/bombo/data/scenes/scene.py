"""One picture of the beach with its exact annotation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bombo.data.label_space import LabelSpace
from bombo.data.scenes.ground import make_ground
from bombo.data.scenes.layout import Layout
from bombo.data.scenes.painter import Painter
from bombo.data.scenes.sprite import Pen, Sprite
from bombo.data.scenes.things import KINDS, LITTER, Kind

THINGS: tuple[str, ...] = tuple(KINDS)
STUFF: tuple[str, ...] = ("water",)

_SMALLEST, _LARGEST, _SMALLEST_PIXELS = 0.1, 0.5, 11  # diameter of a thing, in sides of the picture and in pixels
_JOINS, _COVERS = 0.3, 0.25  # how often a thing touches the one before, of its own class; or lies on any other
_SPRITES_TRIED, _PLACES_TRIED = 6, 12  # for a thing, before the picture counts as full


@dataclass(frozen=True)
class Scene:
    """One picture with its exact annotation.

    Args:
        image: (H, W, 3) uint8.
        instances: (H, W) uint16; 0 = no thing, i + 1 = visible pixels of object i.
        labels: (N,) int64 index into `THINGS`.
        boxes: (N, 4) float32 xyxy edges, tight around the visible pixels.
        mask: (H, W) uint8 in the values of `label_space()`.
    """

    image: np.ndarray
    instances: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    mask: np.ndarray


def label_space() -> LabelSpace:
    """The classes of the beach: six things, and the water."""
    return LabelSpace(THINGS, STUFF)


def make_scene(seed: int, size: int = 128, objects: tuple[int, int] = (2, 7)) -> Scene:
    """Draws one scene; the same arguments give the same arrays.

    Things are put down one after the other, later ones on top. A thing that would hide another one too much, or would
    itself hardly be visible, is put elsewhere or drawn anew: every pixel of a thing belongs to an annotated object.

    Args:
        seed: Non-negative; decides everything.
        size: Side of the square picture in pixels.
        objects: Fewest and most things; fewer only where the picture is too small to hold them.

    Returns:
        The picture with its boxes, instance map and semantic mask.
    """
    stage = _Stage(np.random.default_rng(seed), size)
    stage.scatter_litter()
    labels = stage.scatter_things(objects)
    instances = stage.layout.instances
    water = np.where(stage.ground.water, len(THINGS) + 1, 0)
    mask = np.where(instances > 0, np.append(0, labels + 1)[instances], water).astype(np.uint8)
    return Scene(stage.painter.photograph(stage.rng), instances, labels, stage.layout.boxes(), mask)


class _Stage:
    """Everything that one picture grows from; `rng` is drawn from in a fixed order."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.size = rng, size
        self.ground = make_ground(rng, size)
        towards = rng.uniform(0, 2 * np.pi)
        self._light = complex(math.cos(towards), math.sin(towards))
        self.painter, self.layout = Painter(self.ground, self._light), Layout(size)

    def scatter_litter(self) -> None:
        """Puts down what is no thing: it stays background, or water."""
        for _ in range(self.rng.integers(1, 8)):
            kind = LITTER[self.rng.integers(len(LITTER))]
            sprite = self._draw(kind, self.size * self.rng.uniform(0.04, 0.28))
            self.painter.put(sprite, kind, *self._anywhere(sprite, kind))

    def scatter_things(self, objects: tuple[int, int]) -> np.ndarray:
        """Puts down things and returns their labels."""
        rng, labels, latest = self.rng, list[int](), 0.0
        wanted = int(rng.integers(objects[0], objects[1] + 1))
        smallest = max(_SMALLEST * self.size, _SMALLEST_PIXELS)
        largest = max(_LARGEST * self.size, smallest)
        for _ in range(_SPRITES_TRIED * wanted):
            if len(labels) == wanted:
                break
            role = rng.random() if labels else 1.0
            if role < _JOINS:
                label, diameter = labels[-1], latest * rng.uniform(0.75, 1.25)
            else:
                label, diameter = int(rng.integers(len(THINGS))), smallest * (largest / smallest) ** rng.beta(1.3, 1)
            diameter = min(max(diameter, smallest), largest)
            kind = KINDS[THINGS[label]]
            sprite = self._draw(kind, diameter)
            if role < _JOINS:
                place = self._place_upon(sprite, len(labels), rng.uniform(0, 0.06))
            elif role < _JOINS + _COVERS:
                place = self._place_upon(sprite, int(rng.integers(1, len(labels) + 1)), rng.uniform(0.1, 0.5))
            else:
                place = self._place_apart(sprite, kind)
            if place is not None:
                self.layout.put(sprite.silhouette, *place)
                self.painter.put(sprite, kind, *place)
                labels.append(label)
                latest = diameter
        return np.array(labels, dtype=np.int64)

    def _draw(self, kind: Kind, diameter: float) -> Sprite:
        rng = self.rng
        squash = rng.uniform(0.85, 1.0) * (1 if rng.random() < 0.5 else -1)
        pen = Pen(diameter, rng.uniform(0, 2 * np.pi), self._light, 1.0 if kind.floats else squash)
        kind.draw(pen, rng)
        mottle = rng.integers(64, 193, (max(round(diameter / 5), 3),) * 2, dtype=np.uint8)
        return pen.finish(kind.relief, mottle)

    def _place_upon(self, sprite: Sprite, neighbour: int, share: float) -> tuple[int, int] | None:
        """A place where `share` of the sprite, one pixel at least, lies on a neighbour; None if none was found."""
        silhouette = sprite.silhouette
        whole = int(silhouette.sum())
        for _ in range(_PLACES_TRIED):
            angle = self.rng.uniform(0, 2 * np.pi)
            direction = complex(math.cos(angle), math.sin(angle))
            place = self.layout.beside(silhouette, neighbour, direction, max(round(share * whole), 1))
            if self.layout.accepts(self.layout.hides(silhouette, *place), whole):
                return place
        return None

    def _place_apart(self, sprite: Sprite, kind: Kind) -> tuple[int, int] | None:
        """A place where the sprite hides nothing; None if none was found."""
        silhouette = sprite.silhouette
        for _ in range(_PLACES_TRIED):
            place = self._anywhere(sprite, kind)
            hidden = self.layout.hides(silhouette, *place)
            if not hidden[1:].any() and self.layout.accepts(hidden, int(silhouette.sum())):
                return place
        return None

    def _anywhere(self, sprite: Sprite, kind: Kind) -> tuple[int, int]:
        """A random (top, left), with the sprite's centre where such a thing likes to lie."""
        likes_water = bool(self.rng.random() < kind.wet)
        y, x = self.rng.integers(0, self.size, 2)
        for _ in range(8):
            if self.ground.water[y, x] == likes_water:
                break
            y, x = self.rng.integers(0, self.size, 2)
        height, width = sprite.alpha.shape
        return int(y) - height // 2, int(x) - width // 2
