from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bombo.completion import folder
from bombo.conversion.annotated import AnnotatedImage, AnnotatedObject
from bombo.conversion.losses import Losses
from bombo.data.data_file import label_space, load_data_file, read_split
from bombo.data.dataset import load
from bombo.data.label_space import ANY_CLASS, VOID, LabelSpace

SPACE = LabelSpace(("cat", "dog"), ("grass",), "void")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """One image with a cat, a dog that has no pixel, a crowd of dogs, a region of no known class, grass and void."""
    (tmp_path / "source" / "images").mkdir(parents=True)
    image = tmp_path / "source" / "images" / "one.webp"
    Image.new("RGB", (40, 30), "grey").save(image)
    mask = np.zeros((30, 40), np.uint8)
    mask[20:] = 3
    mask[2:10, 3:13] = 1
    mask[0:5, 20:40] = mask[10:15, 0:8] = VOID
    crowd, region = np.zeros((2, 30, 40), bool)
    crowd[0:5, 20:40] = region[10:15, 0:8] = True
    objects = (
        AnnotatedObject(0, (2.5, 2.0, 13.0, 10.0), mask == 1, difficult=True, score=0.7),
        AnnotatedObject(1, (30.0, 8.0, 36.0, 12.0), np.zeros((30, 40), bool)),
        AnnotatedObject(1, (20.0, 0.0, 40.0, 5.0), crowd, crowd=True),
        AnnotatedObject(3, (0.0, 10.0, 8.0, 15.0), region),
    )
    names = {"classes": ["cat", "dog"], "stuff": ["grass"], "others": "void"}
    source = {"format": "coco", "root": "source", "annotations": "x.json", "use": "boxes"}
    categories = [{"id": number, "name": name} for number, name in enumerate(("cat", "dog", "grass"))]
    content = {"images": [], "annotations": [], "categories": categories}
    (tmp_path / "source" / "x.json").write_text(json.dumps(content))
    (tmp_path / "data.yaml").write_text(json.dumps(names | {"train": [source], "val": [source]}))
    out = tmp_path / "out"
    losses = Losses()
    folder.write(iter([AnnotatedImage(image, (30, 40), "one", objects, mask)]), SPACE, out, losses, Losses())
    assert not losses.changed
    text = folder.data_file(load_data_file(tmp_path / "data.yaml"), "train", SPACE, out)
    (out / folder.DATA).write_text(text)
    return out


def test_nothing_is_lost_on_the_way_to_training(written: Path) -> None:
    file = load_data_file(written / folder.DATA)
    assert label_space(file) == SPACE
    (record,) = read_split(file, "train", SPACE).records
    assert record.boxes is not None
    assert record.boxes.boxes.tolist() == [[2.5, 2, 13, 10], [30, 8, 36, 12], [20, 0, 40, 5], [0, 10, 8, 15]]
    assert record.boxes.labels.tolist() == [0, 1, 1, ANY_CLASS]
    sample = load(record)
    assert sample.is_target is not None
    assert sample.is_target.tolist() == [True, True, False, False]
    assert np.array_equal(sample.mask, folder.mask_of(written, "one"))
    assert file.val[0].root.resolve() == (written.parent / "source").resolve()


def test_labelling_tools_get_the_objects_and_the_stuff_only(written: Path) -> None:
    content = json.loads((written / "coco" / "annotations" / "instances_default.json").read_text())
    assert [category["name"] for category in content["categories"]] == ["cat", "dog", "grass"]
    assert [(item["category_id"], item.get("score")) for item in content["annotations"]] == [
        (1, 0.7),
        (2, None),
        (2, None),
        (3, None),
    ]
    assert all(isinstance(item["segmentation"], list) for item in content["annotations"])
    assert content["images"][0]["file_name"] == "one.webp"
    xml = (written / "voc" / "Annotations" / "one.xml").read_text()
    assert xml.count("<object>") == 3
    assert np.array_equal(
        np.unique(folder.read_mask_pixels(written / "voc" / "SegmentationObject" / "one.png")), [0, 1]
    )
