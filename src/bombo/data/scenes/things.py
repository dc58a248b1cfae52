"""What lies on the beach: six classes of things, and the litter that is none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bombo.data.scenes.sprite import Pen, ellipse, mix, path, tint

_WHITE, _BLACK = (250, 248, 240), (24, 22, 28)


def starfish(pen: Pen, rng: np.random.Generator) -> None:
    """Five arms with a dotted ridge."""
    skin = tint(rng, ((226, 104, 48), (202, 58, 62), (146, 84, 158), (236, 158, 62), (92, 110, 170)))
    arms = np.exp(2j * np.pi * np.arange(5) / 5) * rng.uniform(0.85, 1.05, 5)
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    nearest = np.abs(arms)[np.rint(angle / (2 * np.pi / 5)).astype(int) % 5]
    radius = 0.3 + (nearest - 0.3) * np.abs(np.cos(2.5 * angle)) ** 2.6
    bend = rng.uniform(-0.35, 0.35)
    pen.fill(radius * np.exp(1j * (angle + bend * radius)), skin)
    pale, dark = mix(skin, _WHITE, 0.6), mix(skin, _BLACK, 0.3)
    for arm in arms:
        along = np.linspace(0.05, 0.85, 6)
        ridge = arm * along * np.exp(1j * bend * along * abs(arm))
        pen.stroke(ridge, 0.07, dark, body=False)
        for dot, size in zip(ridge[1:], (0.085, 0.075, 0.065, 0.055, 0.045), strict=True):
            pen.fill(ellipse(dot, size, size, points=8), pale, body=False)
    pen.fill(ellipse(0, 0.11, 0.11, points=10), pale, body=False)


def crab(pen: Pen, rng: np.random.Generator) -> None:
    """A wide body, eight legs, two claws."""
    hull = tint(rng, ((206, 62, 40), (226, 112, 44), (150, 74, 58), (84, 104, 132), (176, 40, 64)))
    dark, pale = mix(hull, _BLACK, 0.28), mix(hull, _WHITE, 0.35)
    for side in (1, -1):
        for along, reach in ((0.22, 0.86), (0.02, 0.98), (-0.18, 0.98), (-0.36, 0.86)):
            swing = along * 1.3 + rng.uniform(-0.08, 0.08)
            leg = path(along + 0.35j, swing + 0.2 + 0.72j, swing - 0.1 + 1j * reach)
            pen.stroke(leg if side > 0 else leg.conj(), 0.13, dark)
        opening, elbow = rng.uniform(0.2, 0.4), 0.5 + rng.uniform(0.55, 0.7) * 1j
        palm = 0.78 + 0.48j
        arm = path(0.25 + 0.4j, elbow, palm)
        pen.stroke(arm if side > 0 else arm.conj(), 0.17, hull)
        for finger in (opening, -opening):
            claw = ellipse(palm + 0.16 * np.exp(1j * (finger - 0.4)), 0.27, 0.13, finger * 1.5 - 0.4, 14)
            pen.fill(claw if side > 0 else claw.conj(), hull)
        eye = path(0.35 + 0.14j * side, 0.52 + 0.17j * side)
        pen.stroke(eye, 0.07, dark)
    pen.fill(ellipse(0, 0.42, 0.6), hull)
    pen.fill(ellipse(-0.1, 0.26, 0.44), mix(hull, _BLACK, 0.12), body=False)
    for side in (1, -1):
        pen.fill(ellipse(0.54 + 0.17j * side, 0.08, 0.08, points=10), _BLACK)
        for spot in (0.12 + 0.2j, -0.1 + 0.34j, -0.2 + 0.12j):
            pen.fill(ellipse(spot.real + spot.imag * side * 1j, 0.055, 0.055, points=8), pale, body=False)


def turtle(pen: Pen, rng: np.random.Generator) -> None:
    """A shell of six-cornered plates between four flippers."""
    skin = tint(rng, ((108, 150, 84), (142, 154, 96), (88, 128, 112)))
    shell = tint(rng, ((94, 86, 44), (122, 84, 46), (62, 90, 60)))
    plate = mix(shell, (226, 200, 120), 0.45)
    row = rng.uniform(-0.2, 0.2)
    for side in (1, -1):
        front = ellipse(0.36 + row * side + 0.66j, 0.42, 0.15, 2.0 + row, 18)
        back = ellipse(-0.66 + 0.46j, 0.26, 0.12, 2.5 - row, 14)
        for flipper in (front, back):
            pen.fill(flipper if side > 0 else flipper.conj(), skin)
    pen.stroke(path(-0.7, -0.92), 0.1, skin)
    pen.fill(ellipse(0.8, 0.25, 0.18), skin)
    pen.fill(ellipse(0.86, 0.12, 0.09), mix(skin, _BLACK, 0.3), body=False)
    pen.fill(ellipse(-0.04, 0.72, 0.58), shell)
    hexagon = np.exp(1j * np.pi / 3 * np.arange(6))
    centres = [0.0, 0.42, -0.42, *(0.21 * a + 0.33j * b for a in (-1, 1) for b in (-1, 1))]
    centres += [0.6 * a + 0.22j * b for a in (-1, 1) for b in (-1, 1)] + [0.43j, -0.43j]
    for centre in centres:
        size = 0.185 if abs(centre) < 0.5 and abs(complex(centre).imag) < 0.4 else 0.1
        pen.fill(centre - 0.04 + size * hexagon, plate, body=False)


def ball(pen: Pen, rng: np.random.Generator) -> None:
    """A beach ball with coloured sectors around a white cap, seen from anywhere."""
    gaudy = ((226, 52, 52), (250, 200, 40), (40, 120, 210), (50, 170, 90), (240, 120, 40), (236, 90, 160))
    first, second = rng.choice(len(gaudy), 2, replace=False)
    colours = [gaudy[first], _WHITE, gaudy[second], _WHITE] if rng.random() < 0.7 else [gaudy[first], gaudy[second]]
    pole = rng.uniform(0.0, 0.55)
    pen.fill(ellipse(0, 0.9, 0.9, points=48), _WHITE)
    sectors, fine = len(colours) * int(rng.integers(2, 4) if len(colours) == 2 else 2), 10
    for index in range(sectors):
        angle = np.linspace(index, index + 1, fine) * (2 * np.pi / sectors)
        outer = np.exp(1j * angle)
        bow = np.linspace(0, 1, 6)[1:-1]
        # meridians: from the pole to the rim, bowed by the curvature of the ball
        start, stop = (
            pole + (edge - pole) * bow + 0.25 * pole * 1j * edge.imag * np.sin(np.pi * bow)
            for edge in (outer[0], outer[-1])
        )
        pen.fill(np.concatenate([path(pole), start, outer, stop[::-1]]), colours[index % len(colours)], body=False)
    pen.fill(ellipse(pole, 0.17 * (1 - 0.5 * pole), 0.17, points=14), _WHITE, body=False)
    pen.fill(ellipse(0.55 * pen.light, 0.07, 0.14, float(np.angle(pen.light)), 14), (255, 255, 255), body=False)


def fish(pen: Pen, rng: np.random.Generator) -> None:
    """A spindle with a forked tail and stripes across."""
    scales, band = (
        ((238, 116, 36), _WHITE), ((52, 96, 190), (248, 206, 60)), ((164, 180, 190), (70, 90, 116)),
        ((248, 206, 60), (36, 40, 60)), ((206, 70, 96), (246, 196, 200)),
    )[rng.integers(5)]  # fmt: skip
    scales, band = tint(rng, (scales,), 8), tint(rng, (band,), 8)
    along, bend, girth = np.linspace(-0.72, 1, 24), rng.uniform(-0.25, 0.25), rng.uniform(0.36, 0.5)
    half = girth * np.sin(np.pi * ((along + 0.72) / 1.72) ** 0.8) ** 0.75 + 0.05
    spine = 1j * bend * (along - 0.3) ** 2
    fin = mix(scales, _BLACK, 0.2)
    for side in (1, -1):
        pen.fill(path(0.3 + 0.8j * girth * side, -0.2 + 1.55j * girth * side, -0.4 + 0.5j * girth * side), fin)
    pen.fill(np.concatenate([along + spine + 1j * half, (along + spine - 1j * half)[::-1]]), scales)
    for place in np.linspace(-0.45, 0.4, int(rng.integers(2, 5))):
        across = place + 1j * np.linspace(-0.55, 0.55, 5) + np.array((-0.06, 0, 0.04, 0, -0.06))
        pen.stroke(across + 1j * bend * (place - 0.3) ** 2, 0.12, band, body=False)
    root = -0.66 + 1j * bend * 0.92
    pen.fill(root + path(0.1, -0.42 + 0.42j, -0.28, -0.42 - 0.42j) * np.exp(-1j * bend), fin)
    for side in (1, -1):
        pen.fill(ellipse(0.7 + 0.16j * side, 0.085, 0.085, points=10), _WHITE, body=False)
        pen.fill(ellipse(0.72 + 0.17j * side, 0.05, 0.05, points=8), _BLACK, body=False)


def shell(pen: Pen, rng: np.random.Generator) -> None:
    """A fan with ribs and growth bands."""
    lime = tint(rng, ((240, 214, 190), (226, 150, 132), (190, 130, 100), (204, 176, 204), (248, 236, 220)))
    dark, band = mix(lime, (96, 52, 40), 0.5), mix(lime, (150, 70, 60), 0.38)
    ribs, spread = int(rng.integers(7, 10)), rng.uniform(1.05, 1.25)
    hinge, angle = -0.72, np.linspace(-1, 1, 12 * ribs + 1)
    rim = 1.6 * (1 - 0.2 * angle**2) * (0.955 + 0.045 * np.abs(np.sin(np.pi * ribs * (angle + 1) / 2)))
    edge = rim * np.exp(1j * spread * angle)
    pen.fill(path(hinge - 0.12 + 0.3j, hinge - 0.12 - 0.3j, hinge + 0.25 - 0.3j, hinge + 0.25 + 0.3j), dark)
    pen.fill(np.concatenate([path(hinge), hinge + edge]), lime)
    for share, width in ((0.92, 0.07), (0.68, 0.1), (0.42, 0.08)):
        pen.stroke(hinge + edge * share, width, band, body=False)
    for rib in np.linspace(-1, 1, ribs + 1)[1:-1]:
        tip = 1.6 * (1 - 0.2 * rib**2) * np.exp(1j * spread * rib)
        pen.stroke(path(hinge, hinge + tip), 0.05, dark, body=False)


def pebble(pen: Pen, rng: np.random.Generator) -> None:
    """A smooth stone."""
    angle = np.arange(20) * (2 * np.pi / 20)
    radius = 0.85 + 0.08 * np.cos(2 * angle + rng.uniform(0, 6)) + 0.06 * np.cos(3 * angle + rng.uniform(0, 6))
    stone = tint(rng, ((120, 116, 112), (150, 132, 112), (96, 88, 84), (178, 168, 156), (140, 96, 76)))
    pen.fill(radius * np.exp(1j * angle), stone)
    if rng.random() < 0.4:
        pen.stroke(path(-1 - 0.2j, 0.1 + 0.1j, 1 + 0.3j), 0.1, mix(stone, _WHITE, 0.4), body=False)


def seaweed(pen: Pen, rng: np.random.Generator) -> None:
    """A tuft of wavy strands."""
    leaf = tint(rng, ((66, 92, 44), (92, 88, 36), (110, 74, 40), (48, 84, 66)))
    along = np.linspace(0, 1, 12)
    for strand in range(int(rng.integers(4, 8))):
        lean, wave = rng.uniform(-0.7, 0.7), rng.uniform(0, 6)
        strand_path = -0.8 + 1.7 * along * np.exp(1j * lean * along) + 0.09j * np.sin(9 * along + wave)
        pen.stroke(strand_path, 0.08, mix(leaf, _BLACK if strand % 2 else _WHITE, 0.15))


def driftwood(pen: Pen, rng: np.random.Generator) -> None:
    """A bleached stick with a stump of a branch."""
    wood = tint(rng, ((150, 126, 100), (122, 96, 72), (176, 160, 140)))
    pen.stroke(path(0.1, 0.45 + 0.35j), 0.11, wood)
    pen.fill(path(-1 + 0.1j, 0 + 0.16j, 1 + 0.05j, 1 - 0.05j, 0.1 - 0.1j, -1 - 0.09j), wood)
    for offset in (-0.04, 0.05):
        pen.stroke(path(-0.9 + offset * 1j, 0.8 + offset * 0.4j), 0.035, mix(wood, _BLACK, 0.3), body=False)


@dataclass(frozen=True)
class Kind:
    """One sort of object.

    Args:
        draw: Draws it with a pen.
        wet: How often it is put into the water where there is water and sand.
        relief: How round it looks.
        lift: How far its shadow falls, in units of its diameter.
        veil: How much of it deep water hides; nothing of what floats.
    """

    draw: Callable[[Pen, np.random.Generator], None]
    wet: float
    relief: float
    lift: float
    veil: float

    @property
    def floats(self) -> bool:
        """Whether it swims on top of the water."""
        return self.veil == 0


KINDS: dict[str, Kind] = {
    "starfish": Kind(starfish, 0.45, 0.35, 0.05, 0.5),
    "crab": Kind(crab, 0.2, 0.3, 0.07, 0.45),
    "turtle": Kind(turtle, 0.6, 0.35, 0.09, 0.4),
    "ball": Kind(ball, 0.4, 0.45, 0.2, 0.0),
    "fish": Kind(fish, 0.8, 0.35, 0.1, 0.45),
    "shell": Kind(shell, 0.25, 0.35, 0.06, 0.5),
}
LITTER: tuple[Kind, ...] = (
    Kind(pebble, 0.3, 0.35, 0.09, 0.6),
    Kind(seaweed, 0.4, 0.2, 0.04, 0.5),
    Kind(driftwood, 0.2, 0.3, 0.06, 0.3),
)
