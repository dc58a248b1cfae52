from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bombo.data.image_io import image_size, read_image, read_mask_pixels
from bombo.errors import DataError

# a flag whose corners tell every orientation apart
FLAG = np.zeros((8, 12, 3), np.uint8)
FLAG[:4, :6], FLAG[:4, 6:], FLAG[4:, :6] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
GREY = (FLAG @ np.array((0.299, 0.587, 0.114))).round().astype(np.uint8)
STORED_AS = {  # EXIF orientation → how to store an image so that a viewer shows it upright
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, 1),  # shown turned clockwise
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels, -1),
}


def save(pixels: np.ndarray, path: Path, orientation: int = 1, **options: object) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED_AS[orientation](pixels))
    Image.fromarray(stored).save(path, exif=exif, **options)
    return path


def write_png(path: Path, values: list[list[int]], depth: int, colour: int = 0, palette: bytes = b"") -> Path:
    """A PNG of few bits per pixel, made by hand: Pillow writes no grey ones."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b""
    for row in values:
        bits = "".join(f"{value:0{depth}b}" for value in row)
        bits += "0" * (-len(bits) % 8)
        rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    header = struct.pack(">IIBBBBB", len(values[0]), len(values), depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in chunks if part[0] != b"PLTE" or part[1]))
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_one_rule_for_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    options = {"jpg": {"quality": 95, "subsampling": 0}, "webp": {"lossless": True}}.get(suffix, {})
    path = save(FLAG, tmp_path / f"a.{suffix}", orientation, **options)
    assert image_size(path) == (8, 12)
    seen = read_image(path)
    assert seen.shape == (8, 12, 3)
    assert np.abs(seen.astype(int) - FLAG)[1:-1:5, 1:-1:9].max() < 16  # away from the edges that JPEG blurs
    if suffix in ("png", "tif"):
        assert np.array_equal(seen, FLAG)
        assert np.array_equal(read_mask_pixels(path), FLAG)  # masks turn with their images
        values = save(GREY, tmp_path / f"mask.{suffix}", orientation)
        assert np.array_equal(read_mask_pixels(values), GREY)


def rgba() -> Image.Image:
    alpha = np.full((8, 12), 255, np.uint8)
    alpha[4:, 6:], alpha[4:, :6] = 0, 128
    return Image.fromarray(np.dstack((FLAG, alpha)))


OVER_WHITE = FLAG.copy()
OVER_WHITE[4:, 6:], OVER_WHITE[4:, :6] = 255, (127, 127, 255)
GREY_COLOURS = GREY[..., None].repeat(3, 2)


@pytest.mark.parametrize(
    ("image", "suffix", "expected"),
    [
        (Image.fromarray(FLAG), "bmp", FLAG),
        (Image.fromarray(FLAG).convert("P", palette=Image.Palette.ADAPTIVE), "png", FLAG),
        (Image.fromarray(FLAG).convert("P", palette=Image.Palette.ADAPTIVE), "gif", FLAG),
        (Image.fromarray(GREY), "png", GREY_COLOURS),
        (Image.fromarray(FLAG[..., 0]).convert("1"), "png", FLAG[..., :1].repeat(3, 2)),
        (Image.fromarray(FLAG).convert("CMYK"), "tif", FLAG),
        (Image.fromarray(FLAG).convert("CMYK"), "jpg", FLAG),
        (Image.fromarray(FLAG).convert("YCbCr"), "tif", FLAG),
        (rgba(), "png", OVER_WHITE),
        (rgba(), "webp", OVER_WHITE),
        (rgba().convert("LA"), "png", None),
        (rgba().quantize(), "png", OVER_WHITE),
        (Image.fromarray(GREY.astype(np.uint16) * 257), "png", GREY_COLOURS),
        (Image.fromarray(GREY.astype(">u2") * 257), "tif", GREY_COLOURS),
        (Image.fromarray(GREY.astype(np.uint16) // 4), "png", np.zeros_like(FLAG)),
        (Image.fromarray(GREY.astype(np.int32) * 257), "tif", GREY_COLOURS),
        (Image.fromarray(GREY.astype(np.float32) / 255), "tif", GREY_COLOURS),
        (Image.fromarray(GREY.astype(np.float32)), "tif", GREY_COLOURS),
        (Image.fromarray(GREY.astype(np.float32) * 257), "tif", GREY_COLOURS),
        (Image.fromarray(GREY.astype(np.float32) - 200), "tif", np.zeros_like(FLAG)),
        (Image.fromarray(np.where(FLAG[..., 0] > 0, 1e6, 5e5).astype(np.float32)), "tif", None),
    ],
    ids=[
        "RGB", "palette", "GIF", "grey", "1 bit", "CMYK", "CMYK JPEG", "YCbCr", "RGBA", "RGBA WebP", "grey with alpha",
        "palette with alpha", "16 bits", "16 bits big-endian", "16 bits, dark", "32 bits", "floats to 1",
        "floats to 255", "floats to 65535", "floats below 0", "floats beyond all",
    ],
)  # fmt: skip
def test_every_kind_of_image_is_rgb(tmp_path: Path, image: Image.Image, suffix: str, expected: np.ndarray) -> None:
    path = tmp_path / f"a.{suffix}"
    image.save(path, **({"quality": 95, "subsampling": 0} if suffix == "jpg" else {"lossless": suffix == "webp"}))
    seen = read_image(path)
    assert (seen.shape, seen.dtype) == ((8, 12, 3), np.uint8)
    assert image_size(path) == (8, 12)
    if expected is None:
        assert seen[0, 0, 0] > seen[7, 11, 0] or (seen[7, 11] == 255).all()
    else:
        assert np.abs(seen.astype(int) - expected).max() <= (40 if suffix == "jpg" else 2)


def test_transparent_colour(tmp_path: Path) -> None:
    for mode in ("RGB", "L"):
        image = Image.fromarray(FLAG).convert(mode)
        image.save(tmp_path / f"{mode}.png", transparency=(0, 0, 0) if mode == "RGB" else 0)
        assert (read_image(tmp_path / f"{mode}.png")[7, 11] == 255).all()
        assert not (read_image(tmp_path / f"{mode}.png")[0, 0] == 255).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_tiny_images(tmp_path: Path, size: tuple[int, int]) -> None:
    path = save(np.full((*size, 3), 7, np.uint8), tmp_path / "a.png")
    assert image_size(path) == read_image(path).shape[:2] == size


VALUES = [[0, 1, 2, 3], [3, 2, 1, 0]]


@pytest.mark.parametrize(("depth", "values"), [(1, [[0, 1], [1, 0]]), (2, VALUES), (4, [[0, 15, 7, 2]]), (8, VALUES)])
def test_masks_keep_their_stored_values(tmp_path: Path, depth: int, values: list[list[int]]) -> None:
    grey = read_mask_pixels(write_png(tmp_path / "grey.png", values, depth))
    assert (grey.dtype, grey.tolist()) == (np.uint8, values)
    palette = bytes(range(3 * 2**depth)) if depth < 8 else bytes(768)
    indices = write_png(tmp_path / "palette.png", values, depth, colour=3, palette=palette)
    assert read_mask_pixels(indices).tolist() == values


def test_mask_kinds(tmp_path: Path) -> None:
    values = np.arange(96).reshape(8, 12).astype(np.uint8)
    for bits in (np.uint8, np.uint16):
        Image.fromarray(values.astype(bits)).save(tmp_path / "a.png")
        read = read_mask_pixels(tmp_path / "a.png")
        assert read.dtype == np.uint8
        assert np.array_equal(read, values)
    rgba().save(tmp_path / "a.png")
    assert np.array_equal(read_mask_pixels(tmp_path / "a.png"), FLAG)  # colours as stored, whatever their alpha


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.fromarray(np.full((4, 4), 256, np.uint16)), "16-bit mask holds the value 256"),
        (Image.fromarray(np.zeros((4, 4), np.float32)), "mode F cannot be a mask"),
        (rgba().convert("LA"), "mode LA cannot be a mask"),
        (Image.fromarray(FLAG).convert("CMYK"), "mode CMYK cannot be a mask"),
    ],
)
def test_what_is_no_mask(tmp_path: Path, image: Image.Image, message: str) -> None:
    image.save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=rf"a\.tif: .*{message}(.|\n)*fix: "):
        read_mask_pixels(tmp_path / "a.tif")


READERS = [read_image, read_mask_pixels, image_size]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"])
def test_no_image(tmp_path: Path, reader, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: cannot be read as an image(.|\n)*fix: "):
        reader(tmp_path / "a.png")


@pytest.mark.parametrize("reader", READERS)
def test_missing(tmp_path: Path, reader) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg: file is missing(.|\n)*fix: "):
        reader(tmp_path / "gone.jpg")
    with pytest.raises(DataError, match="cannot be read"):
        reader(tmp_path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp", "gif"])
def test_truncated_files_are_errors_and_never_grey_rows(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / f"a.{suffix}")
    content = (tmp_path / f"a.{suffix}").read_bytes()
    for share in (0.1, 0.5, 0.9):
        (tmp_path / f"a.{suffix}").write_bytes(content[: int(share * len(content))])
        with pytest.raises(DataError, match="cannot be read as an image"):
            read_image(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "gif", "bmp"])
def test_damage_is_an_error_of_ours_or_none(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)  # a damaged size would cost seconds
    path = save(FLAG, tmp_path / f"a.{suffix}", 6)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), rng.integers(1, 8)):
            damaged[position] = rng.integers(0, 256)
        path.write_bytes(damaged)
        for reader in READERS:
            with suppress(DataError):
                reader(path)


def test_pixels_that_are_no_numbers(tmp_path: Path) -> None:
    values = np.zeros((4, 4), np.float32)
    values[1, 2] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="some pixels are no finite numbers"):
        read_image(tmp_path / "a.tif")


def test_image_too_large_to_be_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(FLAG, tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(DataError, match=r"too large to be safe(.|\n)*fix: downscale it"):
        read_image(path)
