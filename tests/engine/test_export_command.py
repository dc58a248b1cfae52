from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

import bombo
from bombo.engine import export as verb
from bombo.engine.checkpoint import save_model
from bombo.engine.export import Export
from bombo.errors import BomboError, ConfigError

CPU = {"device": "cpu", "precision": "32"}
EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_without_bombo.py"


@pytest.fixture(scope="module")
def weights(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained network, but surer of what it sees, and one that keeps the aspect ratio."""
    model: Any = bombo.load(trained, **CPU)
    with torch.no_grad():
        model.network.detection.class_logits.bias += 3.5
    file = tmp_path_factory.mktemp("sure") / "best.safetensors"
    save_model(file, replace(model, fit="letterbox"))
    return file


@pytest.fixture(scope="module")
def written(weights: Path) -> Export:
    return bombo.export(weights, dynamic_batch=True, end_to_end=True)


@pytest.fixture
def photos(world: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, size in {"a": (64, 64), "b": (100, 40), "c": (31, 97)}.items():
        Image.open(world.parent / "devkit" / "JPEGImages" / "val_00000.jpg").resize(size).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def at_once(written: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter gives what it gave before, whatever it is asked for."""
    content = written.files[0].path.read_bytes()
    monkeypatch.setattr(verb, "to_onnx", lambda *_: content)


def same_masks(one: Path, other: Path) -> bool:
    files = sorted(one.glob("*.png"))
    assert len(files) == 3
    pairs = [(np.asarray(Image.open(file)), np.asarray(Image.open(other / file.name))) for file in files]
    return all(np.mean(a != b) < 0.002 for a, b in pairs)


def same_entries(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    assert len(one) > 10
    return len(one) == len(other) and all(
        a["category_id"] == b["category_id"]
        and np.allclose(a["bbox"], b["bbox"], atol=0.02)
        and abs(a["score"] - b["score"]) < 1e-4
        for a, b in zip(one, other, strict=True)
    )


def test_the_files_lie_beside_the_weights_and_are_whole(written: Export, weights: Path) -> None:
    assert [file.path.name for file in written.files] == ["best.onnx", "best_detect.onnx"]
    for file in written.files:
        model = onnx.load(file.path, load_external_data=False)
        assert not any(tensor.external_data for tensor in model.graph.initializer)
        assert [opset.version for opset in model.opset_import if not opset.domain] == [file.metadata.opset] == [18]
    assert {path.name for path in weights.parent.iterdir()} == {"best.safetensors", "best.onnx", "best_detect.onnx"}


def test_all_one_needs_to_know_is_inside(written: Export, weights: Path) -> None:
    model: Any = bombo.load(weights, **CPU)
    for file in written.files:
        session = onnxruntime.InferenceSession(file.path)
        about = json.loads(session.get_modelmeta().custom_metadata_map["bombo"])
        assert (tuple(about["things"]), tuple(about["stuff"])) == (model.space.things, model.space.stuff)
        assert (about["size"], about["fit"], about["batch_size"]) == ([64, 64], "letterbox", None)
        assert about["mean"] == model.network.mean.flatten().tolist()
        assert about["std"] == model.network.std.flatten().tolist()
        assert about["bombo"] == version("bombo")
        (images,) = session.get_inputs()
        assert (images.name, images.type, images.shape[1:]) == ("images", "tensor(uint8)", [3, 64, 64])
        assert isinstance(images.shape[0], str)
    shapes = {output.name: output.shape[1:] for output in session.get_outputs()}
    assert shapes == {"boxes": [100, 4], "scores": [100], "labels": [100], "mask": [64, 64]}


def test_it_is_compared_with_the_network(written: Export) -> None:
    for file in written.files:
        assert file.parity.images == 8
        assert file.parity.boxes > 100
        assert file.parity.problems() == []
    assert 0 < written.files[0].parity.outputs["class_logits"][0] < 1e-3


NAMED = {"first": lambda model: [model], "by name": lambda model: ["--model", model], "=": lambda m: [f"--model={m}"]}


@pytest.mark.parametrize("named", NAMED.values(), ids=NAMED)
def test_predict_takes_it(
    named: Callable[[Path], list[object]],
    written: Export,
    weights: Path,
    photos: Path,
    tmp_path: Path,
    bombo_command: Any,
) -> None:
    expected = bombo.predict(weights, photos, out=tmp_path / "torch", **CPU)
    ended = bombo_command("predict", *named(written.files[0].path), photos, "--json", out=tmp_path / "onnx")
    assert ended.code == 0
    assert same_entries(json.loads(ended.out), expected)
    assert same_masks(tmp_path / "onnx" / "masks", tmp_path / "torch" / "masks")


def test_predict_takes_it_in_tiles(
    written: Export, weights: Path, photos: Path, tmp_path: Path, bombo_command: Any
) -> None:
    expected = bombo.predict(weights, photos, out=tmp_path / "torch", tile=40, **CPU)
    ended = bombo_command("predict", written.files[0].path, photos, "--json", out=tmp_path / "onnx", tile=40)
    assert ended.code == 0
    assert same_entries(json.loads(ended.out), expected)
    assert same_masks(tmp_path / "onnx" / "masks", tmp_path / "torch" / "masks")


def test_evaluate_takes_it(written: Export, weights: Path, world: Path, bombo_command: Any) -> None:
    expected = bombo.evaluate(weights, data=world, workers=0, **CPU)
    ended = bombo_command("evaluate", written.files[0].path, "--json", data=world, workers=0)
    assert ended.code == 0
    figures = json.loads(ended.out)["figures"]
    for name, value in expected.to_json()["figures"].items():
        assert figures[name] == pytest.approx(value, abs=1e-3), name


def test_the_example_needs_no_bombo(
    written: Export,
    weights: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo = photos / "b.png"
    expected = bombo.load(weights, **CPU).predict(photo)
    assert len(expected) > 3
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["x", str(written.files[1].path), str(photo)])
    with monkeypatch.context() as without:
        for name in ("bombo", "torch"):
            without.setitem(sys.modules, name, None)
        capsys.readouterr()
        runpy.run_path(str(EXAMPLE))
    *rows, last = capsys.readouterr().out.splitlines()
    assert last.startswith("mask.png   ")
    assert len(rows) == pytest.approx(len(expected), abs=2)  # Pillow resizes a little differently than torchvision
    best = rows[0].split(maxsplit=2)
    assert best[0] == expected.classes[expected.labels[0]]
    assert json.loads(best[2]) == pytest.approx(expected.boxes[0].tolist(), abs=2)
    mask = np.asarray(Image.open("mask.png"))
    assert mask.shape == expected.mask.shape
    assert np.mean(mask != expected.mask) < 0.1


def test_a_fixed_batch_and_json(weights: Path, photos: Path, tmp_path: Path, bombo_command: Any) -> None:
    out = tmp_path / "two.onnx"
    ended = bombo_command("export", weights, "--json", out=out, batch_size=2)
    assert ended.code == 0
    (file,) = json.loads(ended.out)["files"]
    assert (file["path"], file["bytes"], file["metadata"]["batch_size"]) == (str(out), out.stat().st_size, 2)
    assert file["parity"]["lost"] == 0
    assert onnxruntime.InferenceSession(out).get_inputs()[0].shape == [2, 3, 64, 64]
    expected = bombo.predict(weights, photos, out=tmp_path / "torch", **CPU)
    assert same_entries(bombo.predict(out, photos, out=tmp_path / "onnx"), expected)


def test_torch_export(weights: Path, tmp_path: Path, bombo_command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "net.pt2"
    ended = bombo_command("export", weights, "--dynamic-batch", format="torch", out=out)
    assert (ended.code, ended.err) == (0, "")
    assert "torch.export; takes images (any number, 3, 64, 64)" in ended.out
    extra = {"bombo.json": ""}
    images = torch.randint(256, (3, 3, 64, 64), dtype=torch.uint8)
    expected = bombo.load(weights, **CPU).forward(images)
    with monkeypatch.context() as without:
        for name in [name for name in sys.modules if name.split(".")[0] == "bombo"]:
            without.setitem(sys.modules, name, None)
        module = torch.export.load(out, extra_files=extra).module()
        given = module(images)
    torch.testing.assert_close(given["mask_logits"], expected.mask_logits)
    assert given.keys() == set(expected._fields)
    assert json.loads(extra["bombo.json"])["things"][0] == "starfish"


@pytest.mark.usefixtures("at_once")
def test_what_a_person_reads(weights: Path, world: Path, tmp_path: Path, bombo_command: Any) -> None:
    out = tmp_path / "net.onnx"
    ended = bombo_command("export", weights, out=out, data=world)
    assert (ended.code, ended.err) == (0, "")
    for phrase in (
        "test_resnet, 6 things, 1 stuff, 64 × 64 px (letterbox)",
        "ONNX opset 18; takes images (any number, 3, 64, 64)",
        f"4 validation images of {world}",
        "class_logits  differs by ",
        f"{out}   ",
        f"next      bombo predict {out} photos/",
    ):
        assert phrase in ended.out
    assert max(map(len, ended.out.splitlines())) < 120 + len(str(tmp_path)) * 2


@pytest.mark.usefixtures("at_once")
def test_a_file_that_says_something_else_is_not_written(trained: Path, tmp_path: Path, bombo_command: Any) -> None:
    out = tmp_path / "net.onnx"
    ended = bombo_command("export", trained, out=out)
    assert ended.code == 1
    assert ended.out == ""
    assert f"{out}: would not say what the network says, and is not written: class_logits differs by 3.5" in ended.err
    assert not list(tmp_path.iterdir())


REFUSED = {
    "two sizes of a batch": ({"batch_size": 2, "dynamic_batch": True}, "fixes what --dynamic-batch leaves open"),
    "detections in another format": ({"format": "torch", "end_to_end": True}, "is for ONNX only"),
    "a name of another format": ({"out": Path("net.pt2")}, "is no name for the format onnx"),
    "an unknown format": ({"format": "tflite"}, "'onnx' or 'torch'"),
    "no images": ({"batch_size": 0}, "below 1"),
}


@pytest.mark.parametrize(("given", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_cannot_be_met(given: dict[str, Any], message: str, weights: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        bombo.export(weights, **given)


@pytest.mark.usefixtures("at_once")
def test_nothing_is_overwritten_unasked(weights: Path, tmp_path: Path, bombo_command: Any) -> None:
    (tmp_path / "net_detect.onnx").write_text("mine")
    ended = bombo_command("export", weights, "--end-to-end", out=tmp_path / "net.onnx")
    assert ended.code == 1
    assert "net_detect.onnx: is there already\n  fix: choose another --out, or add --overwrite" in ended.err
    assert not (tmp_path / "net.onnx").exists()
    (tmp_path / "net.onnx").write_text("mine")
    assert bombo_command("export", weights, "--overwrite", out=tmp_path / "net.onnx").code == 0
    assert (tmp_path / "net_detect.onnx").read_text() == "mine"
    assert (tmp_path / "net.onnx").stat().st_size > 1000


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_packages_that_are_missing_are_named(
    package: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bombo_command: Any
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    ended = bombo_command("export", weights, out=tmp_path / "net.onnx")
    assert ended.code == 2
    assert f"the package `{package}`" in ended.err
    assert "fix: pip install '.[onnx]'" in ended.err


USES = {
    "the end-to-end file": (1, {}, ConfigError, "end-to-end file.*\n.*fix: give the one without _detect"),
    "a GPU": (0, {"device": "cuda"}, ConfigError, "computes on the CPU, not on cuda"),
    "half precision": (0, {"precision": "bf16"}, ConfigError, "computes in float32, not in bf16"),
}


@pytest.mark.parametrize(("file", "given", "kind", "message"), USES.values(), ids=USES)
def test_uses_that_a_file_is_not_for(
    file: int, given: dict[str, Any], kind: type[BomboError], message: str, written: Export
) -> None:
    with pytest.raises(kind, match=message):
        bombo.load(written.files[file].path, **given)


def test_an_exported_file_is_not_exported_again(written: Export, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is exported already"):
        bombo.export(written.files[0].path, out=tmp_path / "again.onnx")


EMPTY = '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "crab"}]}'
NO_IMAGES = {
    "no list": ("", "there are no sources for `val`"),
    "an empty list": ("val: [{format: coco, root: ., annotations: empty.json, use: boxes}]\n", "no validation images"),
}


@pytest.mark.parametrize(("val", "message"), NO_IMAGES.values(), ids=NO_IMAGES)
def test_images_to_compare_on_have_to_be_there(val: str, message: str, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text(EMPTY)
    (tmp_path / "images").mkdir()
    data = tmp_path / "data.yaml"
    data.write_text("train: [{format: coco, root: ., annotations: empty.json, use: boxes}]\n" + val)
    with pytest.raises(ConfigError, match=message):
        bombo.export(weights, out=tmp_path / "net.onnx", data=data)
