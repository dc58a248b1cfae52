from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from bombo.data.data_file import label_space, load_data_file, read_split
from bombo.data.dataset import load
from bombo.data.label_space import VOID
from bombo.data.sample import Record
from bombo.engine.checkpoint import load as load_model
from bombo.engine.evaluate import Evaluation, measure
from bombo.engine.model import TorchModel
from bombo.errors import ConfigError

SIDE = 96
CATS = {"format": "coco", "root": "cats", "annotations": "instances.json"}
DOGS = {"format": "coco", "root": "dogs", "annotations": "instances.json"}
BOTH = {"classes": ["cat", "dog"], "val": [{**CATS, "use": "both"}]}


def write_source(root: Path, names: list[str], objects: list[list[tuple[str, int]]], seed: int) -> None:
    """Images of grey noise with squares of 32 pixels, one entry (class, x) for each."""
    rng = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    images, annotations = [], []
    for number, squares in enumerate(objects, start=1):
        pixels = rng.integers(90, 130, (SIDE, SIDE, 3), dtype=np.uint8)
        for name, x in squares:
            pixels[30:62, x : x + 32] = (200, 60, 60) if name == "cat" else (60, 60, 200)
            outline = [x, 30, x + 32, 30, x + 32, 62, x, 62]
            box = {"image_id": number, "category_id": names.index(name) + 1, "bbox": [x, 30, 32, 32], "area": 1024}
            annotations.append({"id": len(annotations) + 1, "iscrowd": 0, "segmentation": [outline], **box})
        Image.fromarray(pixels).save(root / "images" / f"{root.name}-{number}.png")
        images.append({"id": number, "file_name": f"{root.name}-{number}.png", "width": SIDE, "height": SIDE})
    categories = [{"id": index, "name": name} for index, name in enumerate(names, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "instances.json").write_text(json.dumps(content))


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Cats from one team, which marked a dog once, and dogs from another, which knows no cats."""
    write_source(tmp_path / "cats", ["cat", "dog"], [[("cat", 4)], [("cat", 4), ("dog", 60)], [("cat", 40)]], 0)
    write_source(tmp_path / "dogs", ["dog"], [[("dog", 4)], [("dog", 50)], []], 1)
    return tmp_path


def data_file(root: Path, **content: Any) -> Path:
    (root / "zoo.yaml").write_text(yaml.safe_dump(content))
    return root / "zoo.yaml"


def records(path: Path, **how: bool) -> dict[str, Record]:
    data = load_data_file(path)
    return {record.name: record for record in read_split(data, "train", label_space(data), **how).records}


def mixed(root: Path, **own: Any) -> Path:
    train = [{**CATS, "use": "boxes", "labelled_classes": ["cat"]}, {**DOGS, "use": "masks"}]
    return data_file(root, train=train, **own)


def test_a_class_its_source_does_not_name_was_not_looked_for(zoo: Path) -> None:
    found = records(data_file(zoo, train=[{**CATS, "use": "both"}, {**DOGS, "use": "both"}]))
    assert {name: record.labelled for name, record in found.items()} == {
        **{f"cats-{number}": None for number in (1, 2, 3)},
        **{f"dogs-{number}": (False, True) for number in (1, 2, 3)},
    }


def test_boxes_never_speak_of_stuff(zoo: Path) -> None:
    train = [{**CATS, "use": "boxes"}, {**DOGS, "use": "boxes"}]
    found = records(data_file(zoo, classes=["dog"], stuff=["cat"], train=train))
    assert {record.labelled for record in found.values()} == {None}


def test_what_was_not_looked_for_is_a_region_and_void(zoo: Path) -> None:
    path = data_file(zoo, train=[{**CATS, "use": "both", "labelled_classes": ["cat"]}])
    sample = load(records(path)["cats-2"])
    assert sample.labels is not None
    assert sample.is_target is not None
    assert sample.mask is not None
    assert sample.labelled is not None
    assert sample.labelled.tolist() == [True, False]
    assert dict(zip(sample.labels.tolist(), sample.is_target.tolist(), strict=True)) == {0: True, 1: False}
    assert sample.mask[40, 10] == 1
    assert sample.mask[40, 70] == VOID
    as_annotated = load(records(path, as_annotated=True)["cats-2"])
    assert as_annotated.is_target is not None
    assert as_annotated.is_target.all()
    assert as_annotated.mask is not None
    assert as_annotated.mask[40, 70] == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [(["cow"], "class 'cow' is in no source"), (["dgo"], "Did you mean `dog`?"), ("cat", "must be a list")],
)
def test_classes_that_cannot_be(zoo: Path, given: Any, said: str) -> None:
    path = data_file(zoo, train=[{**CATS, "use": "boxes"}, {**DOGS, "use": "masks", "labelled_classes": given}])
    with pytest.raises(ConfigError) as error:
        label_space(load_data_file(path))
    assert said in str(error.value)
    assert "zoo.yaml, line" in str(error.value)


def test_training_from_two_teams(zoo: Path, bombo_command: Callable[..., Any], small: dict[str, Any]) -> None:
    settings = {**small, "data": mixed(zoo, val=[{**DOGS, "use": "both"}]), "steps": 2}
    ended = bombo_command("train", out=zoo / "run", **settings)
    assert ended.code == 0, ended.err
    assert "cat on 3, dog on 3 images" in ended.out + ended.err


def test_what_is_said_of_an_unlabelled_class_is_not_judged(
    zoo: Path, bombo_command: Callable[..., Any], small: dict[str, Any]
) -> None:
    assert bombo_command("train", out=zoo / "run", **small | {"data": mixed(zoo), "steps": 1}).code == 0
    model = load_model(zoo / "run", device="cpu")
    assert isinstance(model, TorchModel)
    *_, last = (layer for layer in model.network.segmentation.modules() if isinstance(layer, torch.nn.Conv2d))
    assert last.bias is not None
    torch.nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor([0.0, 9.0, 0.0])  # it sees cats everywhere

    def judged(**own: Any) -> Evaluation:
        return measure(model, list(records(data_file(zoo, **BOTH, train=[{**DOGS, "use": "both", **own}])).values()))

    open_, closed = judged(), judged(labelled_classes=["cat", "dog"])
    assert np.isnan(open_.per_class["cat"]["AP50"])
    assert open_.mask_confusion[:, 1].sum() == 0
    assert closed.mask_confusion[:, 1].sum() == closed.mask_confusion.sum() == open_.mask_confusion.sum()


@pytest.mark.parametrize("to", ["coco", "yolo", "voc"])
def test_a_conversion_keeps_who_looked_for_what(zoo: Path, to: str, bombo_command: Callable[..., Any]) -> None:
    path = data_file(zoo, train=[{**CATS, "use": "boxes", "labelled_classes": ["cat"]}, {**DOGS, "use": "boxes"}])
    ended = bombo_command("convert", path, zoo / "new", "--to", to)
    assert ended.code == 0, ended.err
    file = next(file for file in (zoo / "new" / "bombo.yaml", zoo / "new" / "data.yaml") if file.exists())
    before, after = records(path), records(file)
    assert {name: record.labelled for name, record in after.items()} == {
        name: record.labelled for name, record in before.items()
    }
    annotated = records(file, as_annotated=True)["cats-2"].boxes
    assert annotated is not None
    assert sorted(annotated.labels.tolist()) == [0, 1]  # the dog that somebody marked all the same
    assert not annotated.crowd.any()


def test_completing_lists_that_differ_in_what_was_looked_for_is_refused(
    zoo: Path, bombo_command: Callable[..., Any], small: dict[str, Any]
) -> None:
    assert bombo_command("train", out=zoo / "run", **small | {"data": mixed(zoo), "steps": 1}).code == 0
    ended = bombo_command("complete", mixed(zoo), model=zoo / "run", out=zoo / "done")
    assert ended.code == 2
    assert "on some images" in ended.err
    assert "complete one after the other" in ended.err
    one = [{**CATS, "use": "boxes", "labelled_classes": ["cat"]}]
    ended = bombo_command(
        "complete", data_file(zoo, classes=["cat", "dog"], train=one), model=zoo / "run", out=zoo / "done"
    )
    assert ended.code == 0, ended.err
    assert yaml.safe_load((zoo / "done" / "data.yaml").read_text())["train"][0]["labelled_classes"] == ["cat"]
    assert {record.labelled for record in records(zoo / "done" / "data.yaml").values()} == {(True, False)}


def test_check_names_them(zoo: Path, bombo_command: Callable[..., Any]) -> None:
    ended = bombo_command("check", mixed(zoo), "--json")
    found = {each["code"]: each for each in json.loads(ended.out)["findings"]}
    assert found["class-not-looked-for"]["count"] == 2
