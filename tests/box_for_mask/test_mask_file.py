from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bombo.box_for_mask.mask_file import RIGHT, MaskFile
from bombo.box_for_mask.weak_mask import WeakMask
from bombo.data.label_space import ANY_CLASS, LabelSpace
from bombo.errors import DataError

SPACE, WITH_STUFF = LabelSpace(("a", "b")), LabelSpace(("a", "b"), ("sky",))
HEIGHT, WIDTH = 4, 6

Row = tuple[float, float, float, float, int, bool]  # x1, y1, x2, y2, label, crowd


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "one.png"


def read(file: Path, rows: list[Row], space: LabelSpace = SPACE) -> WeakMask:
    return MaskFile(file)(
        np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8),
        np.array([row[:4] for row in rows], dtype=np.float32).reshape(-1, 4),
        np.array([row[4] for row in rows], dtype=np.int64),
        np.array([row[5] for row in rows], dtype=bool),
        space,
    )


def write(file: Path, *rows: str) -> None:
    values = [[int({".": "0", "x": "255"}.get(mark, mark)) for mark in row] for row in rows]
    Image.fromarray(np.array(values, dtype=np.uint8)).save(file)


def drawn(values: np.ndarray) -> list[str]:
    return ["".join({0: ".", 255: "x"}.get(value, str(value)) for value in row) for row in values.tolist()]


@pytest.mark.parametrize(
    ("stored", "rows", "expected"),
    [
        pytest.param(
            ["111111", "1.22x1", ".122.1", "111111"],
            [(1, 1, 4, 3, 1, False), (0, 0, 2, 2, 0, False)],
            ["11....", "1.22..", ".x22..", "......"],
            id="to the boxes of their class",
        ),
        pytest.param(
            ["222222"] * 4, [(0, 0, 3, 2, 0, False)], ["xxx...", "xxx...", "......", "......"], id="no box of the class"
        ),
        pytest.param(["11x111"] * 4, [(0, 0, 6, 4, 0, False)], ["11x111"] * 4, id="void stays void inside a box"),
        pytest.param(
            ["111111"] * 4,
            [(0, 0, 6, 2, 0, False), (0, 0, 2, 1, 0, True), (4, 3, 6, 4, ANY_CLASS, False)],
            ["xx1111", "111111", "......", "....xx"],
            id="crowd and any class",
        ),
        pytest.param(["121212"] * 4, [], ["......"] * 4, id="no boxes"),
        pytest.param(["121212"] * 4, [(8, 0, 9, 4, 0, False)], ["......"] * 4, id="box outside the image"),
    ],
)
def test_the_file_speaks_where_the_boxes_allow_it(
    file: Path, stored: list[str], rows: list[Row], expected: list[str]
) -> None:
    write(file, *stored)
    made = read(file, rows)
    assert drawn(made.values) == expected
    assert made.values.dtype == np.uint8
    assert made.weights.dtype == np.float32


def test_trusted_inside_boxes_and_certain_outside(file: Path) -> None:
    write(file, *["1x...1"] * HEIGHT)
    made = read(file, [(0, 0, 4, 4, 0, False)])
    assert made.weights[0].tolist() == pytest.approx([RIGHT, 0, RIGHT, RIGHT, 1, 1])


def test_stuff_is_the_files_to_tell(file: Path) -> None:
    write(file, *["33.211"] * HEIGHT)
    made = read(file, [(3, 0, 5, 4, 1, False)], WITH_STUFF)
    assert drawn(made.values) == ["33.2xx"] * HEIGHT
    assert made.weights[0].tolist() == pytest.approx([RIGHT] * 4 + [0, 0])


def test_palette_files_are_read_by_index(file: Path) -> None:
    image = Image.new("P", (WIDTH, HEIGHT), 1)
    image.putpalette([0, 0, 0, 200, 10, 10])
    image.save(file)
    assert (read(file, [(0, 0, 6, 4, 0, False)]).values == 1).all()


def test_a_file_of_another_size(file: Path) -> None:
    Image.fromarray(np.zeros((WIDTH, HEIGHT), dtype=np.uint8)).save(file)
    with pytest.raises(DataError, match="mask is 4×6, its image 6×4") as caught:
        read(file, [])
    assert caught.value.where == str(file)
    assert "one per pixel" in caught.value.fix


def test_a_value_that_is_no_class(file: Path) -> None:
    write(file, *["..3..."] * HEIGHT)
    with pytest.raises(DataError, match="holds 3, which is no class") as caught:
        read(file, [])
    assert caught.value.where == str(file)
    assert "1 to 2 (a, b)" in caught.value.fix
    assert not read(file, [], WITH_STUFF).values.all()


def test_a_missing_file(file: Path) -> None:
    with pytest.raises(DataError, match="missing") as caught:
        read(file, [])
    assert caught.value.where == str(file)
    assert caught.value.fix


def test_colours_are_no_mask(file: Path) -> None:
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)).save(file)
    with pytest.raises(DataError, match="6×4"):
        read(file, [])


def test_every_file_has_a_name(tmp_path: Path) -> None:
    assert MaskFile(tmp_path / "a.png").name != MaskFile(tmp_path / "b.png").name
