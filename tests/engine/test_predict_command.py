from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

import bombo
from bombo.data.image_io import read_image
from bombo.engine.model import Model
from bombo.engine.result import Result
from bombo.errors import BomboError, ConfigError, DataError

CPU = {"device": "cpu", "precision": "32"}


@pytest.fixture(scope="module")
def model(trained: Path) -> Model:
    return bombo.load(trained, device="cpu", precision="32")


@pytest.fixture
def photos(world: Path, tmp_path: Path) -> Path:
    """Five pictures of different sizes and shapes; one in a folder within, one with another one's name."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    sources = sorted((world.parent / "devkit" / "JPEGImages").glob("val_*.jpg"))
    for source, name, size in zip(
        [*sources, sources[0]],
        ["a.jpg", "b.png", "c.jpg", "more/d.jpg", "more/a.png"],
        [(64, 64), (100, 40), (31, 97), (64, 64), (200, 150)],
        strict=True,
    ):
        Image.open(source).resize(size).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


def agree(one: Result, other: Result, exactly: bool = True) -> bool:
    """Equal results; `exactly` False allows for float32 sums in another order."""
    close = np.array_equal if exactly else lambda a, b: a.shape == b.shape and np.allclose(a, b, atol=1e-3)
    return bool(
        close(one.boxes, other.boxes)
        and np.array_equal(one.labels, other.labels)
        and close(one.scores, other.scores)
        and (np.mean(one.mask != other.mask) <= (0 if exactly else 0.001))
    )


def outputs(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def test_a_folder_is_searched_with_its_subfolders(
    trained: Path, photos: Path, tmp_path: Path, bombo_command: Any
) -> None:
    out = tmp_path / "seen"
    ended = bombo_command("predict", trained, photos, out=out, min_score=0.001, **CPU)
    assert ended.code == 0
    names = {"a", "a-2", "b", "c", "d"}
    assert outputs(out) == (
        {f"overlays/{name}.jpg" for name in names} | {f"masks/{name}.png" for name in names} | {"predictions.json"}
    )
    entries = json.loads((out / "predictions.json").read_text())
    assert f"{len(entries):,} detections from a score of 0.001 on (--min-score)" in ended.out
    for place in ("overlays", "masks", "predictions.json"):
        assert str(out / place) in ended.out


def test_the_boxes_are_coco_results(trained: Path, photos: Path, tmp_path: Path) -> None:
    entries = bombo.predict(trained, photos, out=tmp_path / "seen", min_score=0.001, **CPU)
    assert entries == json.loads((tmp_path / "seen" / "predictions.json").read_text())
    assert len(entries) > 5
    sizes = {}
    for entry in entries:
        width, height = Image.open(entry["file_name"]).size
        sizes[entry["image_id"]] = {"id": entry["image_id"], "width": width, "height": height}
        x, y, w, h = entry["bbox"]
        assert x >= 0
        assert y >= 0
        assert w > 0
        assert h > 0
        assert x + w <= width + 0.011  # two numbers rounded to 0.01
        assert y + h <= height + 0.011
        assert 0.001 <= entry["score"] <= 1
        assert 1 <= entry["category_id"] <= 6
    assert len(sizes) == 5
    truth = COCO()
    truth.dataset = {"images": list(sizes.values()), "annotations": [], "categories": []}
    truth.createIndex()
    plain = [{k: entry[k] for k in ("image_id", "category_id", "bbox", "score")} for entry in entries]
    assert len(truth.loadRes(plain).anns) == len(entries)


def test_the_masks_hold_class_values_at_the_size_of_the_image(
    trained: Path, photos: Path, tmp_path: Path, model: Model
) -> None:
    bombo.predict(trained, photos, out=tmp_path / "seen", **CPU)
    for name, file in {"b": "b.png", "c": "c.jpg", "a-2": "more/a.png"}.items():
        mask = Image.open(tmp_path / "seen" / "masks" / f"{name}.png")
        assert mask.mode == "P"
        assert mask.size == Image.open(photos / file).size
        values = np.asarray(mask)
        assert values.max() <= 7
        assert np.mean(values != model.predict(photos / file).mask) <= 0.001
        overlay = Image.open(tmp_path / "seen" / "overlays" / f"{name}.jpg")
        assert overlay.mode == "RGB"


SOURCES = {
    "one image": (["a.jpg"], {"a"}),
    "several": (["a.jpg", "b.png"], {"a", "b"}),
    "a pattern": (["*.jpg"], {"a", "c"}),
    "a deep pattern": (["**/*.png"], {"a", "b"}),
    "an image and a folder": (["b.png", "more"], {"b", "a", "d"}),
}


@pytest.mark.parametrize(("sources", "names"), SOURCES.values(), ids=SOURCES)
def test_sources(
    sources: list[str], names: set[str], trained: Path, photos: Path, tmp_path: Path, bombo_command: Any
) -> None:
    given = [photos / source for source in sources]
    ended = bombo_command("predict", trained, *given, out=tmp_path / "seen", **CPU)
    assert ended.code == 0
    assert {path.stem for path in (tmp_path / "seen" / "masks").iterdir()} == names
    again = bombo.predict(trained, given if len(given) > 1 else str(given[0]), out=tmp_path / "again", **CPU)
    assert again == json.loads((tmp_path / "seen" / "predictions.json").read_text())


def test_json_for_machines(trained: Path, photos: Path, tmp_path: Path, bombo_command: Any) -> None:
    ended = bombo_command("predict", trained, photos, "--json", out=tmp_path / "seen", min_score=0.001, **CPU)
    assert json.loads(ended.out) == json.loads((tmp_path / "seen" / "predictions.json").read_text())


@pytest.mark.parametrize("held", ["predictions.json", "masks", "overlays"])
def test_nothing_is_overwritten_unasked(
    held: str, trained: Path, photos: Path, tmp_path: Path, bombo_command: Any
) -> None:
    out = tmp_path / "seen"
    bombo.predict(trained, photos, out=out, **CPU)
    for name in {"predictions.json", "masks", "overlays"} - {held}:
        shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()
    before = outputs(out)
    ended = bombo_command("predict", trained, photos, out=out, **CPU)
    assert ended.code == 1
    assert ended.err.startswith(f"bombo: {out}: holds {held} already")
    assert outputs(out) == before
    assert bombo_command("predict", trained, photos, "--overwrite", out=out, **CPU).code == 0


def test_files_that_cannot_be_read(trained: Path, photos: Path, tmp_path: Path, bombo_command: Any) -> None:
    (photos / "broken.jpg").write_bytes((photos / "a.jpg").read_bytes()[:400])
    (photos / "empty.png").write_bytes(b"")
    out = tmp_path / "seen"
    ended = bombo_command("predict", trained, photos, out=out, **CPU)
    assert ended.code == 1
    assert "broken.jpg: cannot be read as an image" in ended.err
    assert "--skip-bad" in ended.err

    ended = bombo_command("predict", trained, photos, "--skip-bad", "--overwrite", out=out, **CPU)
    assert ended.code == 0
    assert str(out / "skipped.json") in ended.out
    listed = json.loads((out / "skipped.json").read_text())
    assert [Path(entry["file"]).name for entry in listed] == ["broken.jpg", "empty.png"]
    assert len(list((out / "masks").iterdir())) == 5

    (photos / "broken.jpg").unlink()
    (photos / "empty.png").unlink()
    bombo.predict(trained, photos, out=out, overwrite=True, **CPU)
    assert not (out / "skipped.json").exists()


def test_only_unreadable_files_may_be_skipped_too(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"")
    assert bombo.predict(trained, tmp_path / "broken.jpg", out=tmp_path / "seen", skip_bad=True, **CPU) == []


ERRORS = {
    "no such model": (["nowhere", "photos"], {}, 1, "nowhere: there is no such file or folder"),
    "no such image": (["trained", "nowhere.jpg"], {}, 1, "nowhere.jpg: no images were found"),
    "a folder without images": (["trained", "."], {}, 1, "no images were found"),
    "a score above one": (["trained", "photos"], {"min_score": 1.5}, 2, "--min-score"),
    "no images per batch": (["trained", "photos"], {"batch_size": 0}, 2, "--batch-size"),
}


@pytest.mark.parametrize(("words", "given", "code", "message"), ERRORS.values(), ids=ERRORS)
def test_mistakes_end_with_a_message(
    words: list[str],
    given: dict[str, Any],
    code: int,
    message: str,
    trained: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bombo_command: Any,
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    known = {"trained": trained, "photos": photos}
    ended = bombo_command("predict", *(known.get(word, word) for word in words), out=tmp_path / "seen", **given)
    assert ended.code == code
    assert message in ended.err
    assert not (tmp_path / "seen").exists()


def test_python_gets_the_same_checks(trained: Path, photos: Path) -> None:
    for wrong in ({"min_score": -0.1}, {"batch_size": 0}, {"precision": "64"}):
        with pytest.raises(ConfigError) as caught:
            bombo.predict(trained, photos, **wrong)  # type: ignore[arg-type]
        assert caught.value.where == next(iter(wrong))


FORMS: dict[str, Callable[[Path], Any]] = {
    "text": str,
    "path": Path,
    "PIL image": Image.open,
    "array": read_image,
    "tensor": lambda path: torch.from_numpy(read_image(path).copy()).permute(2, 0, 1),
}
REFUSED = {
    "a grey array": np.zeros((8, 8), dtype=np.uint8),
    "an array with alpha": np.zeros((8, 8, 4), dtype=np.uint8),
    "floats": np.zeros((8, 8, 3)),
    "channels first": np.zeros((3, 8, 8), dtype=np.uint8),
    "a tensor with channels last": torch.zeros(8, 8, 3, dtype=torch.uint8),
    "a tensor of floats": torch.zeros(3, 8, 8),
    "a batch": torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
}


class TestModel:
    """`model.predict` in Python."""

    @pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
    def test_an_image_may_come_in_any_form(self, form: Callable[[Path], Any], model: Model, photos: Path) -> None:
        file = photos / "b.png"
        expected = model.predict(file, min_score=0.01)
        assert len(expected)
        assert agree(model.predict(form(file), min_score=0.01), expected)
        (alone,) = model.predict([form(file)], min_score=0.01)
        assert agree(alone, expected)

    def test_a_folder_gives_all_its_images(self, model: Model, photos: Path) -> None:
        results = model.predict(photos, min_score=0.01)
        assert [result.name for result in results] == ["a.jpg", "b.png", "c.jpg", "a.png", "d.jpg"]
        files = [photos / name for name in ("a.jpg", "b.png", "c.jpg", "more/a.png", "more/d.jpg")]
        assert all(agree(one, other) for one, other in zip(results, model.predict(files, min_score=0.01), strict=True))

    @pytest.mark.parametrize("batch_size", [1, 2, 5])
    def test_the_batch_size_changes_nothing(self, batch_size: int, model: Model, photos: Path) -> None:
        eight = model.predict(photos, min_score=0.01)
        other = model.predict(photos, min_score=0.01, batch_size=batch_size)
        assert all(agree(one, two, exactly=False) for one, two in zip(eight, other, strict=True))

    def test_a_stream_reads_only_what_it_needs(self, model: Model, photos: Path) -> None:
        def files() -> Any:
            yield from (photos / "a.jpg", photos / "b.png")
            raise AssertionError("read too far")

        results = model.stream(files(), batch_size=2)
        assert [next(results).name for _ in range(2)] == ["a.jpg", "b.png"]

    def test_nothing_gives_nothing(self, model: Model) -> None:
        assert model.predict([]) == []

    def test_scores_below_the_limit_are_left_out(self, model: Model, photos: Path) -> None:
        all_of_them = model.predict(photos / "a.jpg", min_score=0.01)
        middle = float(np.median(all_of_them.scores))
        some = model.predict(photos / "a.jpg", min_score=middle)
        assert 0 < len(some) < len(all_of_them)
        assert (some.scores >= middle).all()

    @pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16", "F"])
    def test_pil_images_of_any_mode_are_seen_as_their_files_are(
        self, mode: str, model: Model, photos: Path, tmp_path: Path
    ) -> None:
        grey = Image.open(photos / "b.png").convert("L")
        match mode:
            case "I;16":
                image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
            case "RGBA":
                image = Image.open(photos / "b.png").convert("RGBA")
                image.putalpha(grey)
            case _:
                image = Image.open(photos / "b.png").convert(mode)
        image.save(tmp_path / "image.tif")
        assert agree(model.predict(image, min_score=0.01), model.predict(tmp_path / "image.tif", min_score=0.01))

    def test_a_turned_photo_is_seen_upright(self, model: Model, photos: Path, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # turn by 90 degrees
        Image.open(photos / "b.png").save(tmp_path / "turned.png", exif=exif)
        upright = np.rot90(read_image(photos / "b.png"), -1)
        expected = model.predict(upright, min_score=0.01)
        for turned in (tmp_path / "turned.png", Image.open(tmp_path / "turned.png")):
            assert agree(model.predict(turned, min_score=0.01), expected)

    @pytest.mark.parametrize("image", REFUSED.values(), ids=REFUSED)
    def test_arrays_of_other_forms_are_refused(self, image: Any, model: Model) -> None:
        with pytest.raises(TypeError, match=r"\(H, W, 3\) uint8"):
            model.predict(image)
        with pytest.raises(TypeError):
            model.predict([image])

    def test_something_else_is_refused(self, model: Model) -> None:
        with pytest.raises(TypeError, match="cannot predict on int"):
            model.predict([3])  # type: ignore[list-item]

    def test_a_missing_file_is_named(self, model: Model, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="missing"):
            model.predict(tmp_path / "nothing.jpg")

    def test_an_empty_folder_is_named(self, model: Model, tmp_path: Path) -> None:
        with pytest.raises(BomboError, match="no images were found"):
            model.predict(tmp_path)

    def test_the_input_stays_as_it_was(self, model: Model, photos: Path) -> None:
        image = read_image(photos / "a.jpg").copy()
        before = image.copy()
        model.predict(image).plot()
        assert np.array_equal(image, before)

    def test_a_single_pixel_is_an_image(self, model: Model) -> None:
        result = model.predict(np.zeros((1, 1, 3), dtype=np.uint8), min_score=0.0)
        assert result.mask.shape == (1, 1)
        assert ((result.boxes >= 0) & (result.boxes <= 1)).all()


def test_what_was_written_is_no_photo_and_no_photo_is_seen_twice(
    trained: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(next((world.parent / "devkit" / "JPEGImages").glob("*.jpg")), tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        bombo.predict(trained, [".", "photo.jpg"], overwrite=True, **CPU)
        assert [file.name for file in (tmp_path / "predictions" / "overlays").iterdir()] == ["photo.jpg"]


def test_predictions_alone_are_no_photos_and_stay(
    trained: Path, world: Path, tmp_path: Path, bombo_command: Any
) -> None:
    shutil.copy(next((world.parent / "devkit" / "JPEGImages").glob("*.jpg")), tmp_path / "photo.jpg")
    out = tmp_path / "seen"
    bombo.predict(trained, [tmp_path / "photo.jpg"], out=out, **CPU)
    before = (out / "predictions.json").read_bytes()
    ended = bombo_command("predict", trained, out / "overlays", "--overwrite", out=out, device="cpu")
    assert ended.code == 1
    assert "holds nothing but what was written there before" in ended.err
    assert (out / "predictions.json").read_bytes() == before
