from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import bombo
from bombo.data.data_file import label_space, load_data_file, read_split
from bombo.engine.gallery import choose, draw_gallery

QUALITIES = st.dictionaries(st.text(min_size=1, max_size=4), st.sampled_from([0.0, 0.3, 0.7, 1.0, float("nan")]))


@given(QUALITIES)
def test_the_best_are_not_worse_than_any_other_and_the_worst_not_better(quality: dict[str, float]) -> None:
    groups = choose(quality, lambda name: True, each=3)
    known = {name: value for name, value in quality.items() if value == value}
    assert len(groups["best"]) == len(groups["random"]) == min(3, -(-len(known) // 3))
    for name in groups["best"]:
        assert all(known[name] >= known[other] for other in known.keys() - set(groups["best"]))
    for name in groups["worst"]:
        assert all(known[name] <= known[other] for other in known.keys() - set(groups["worst"]))
    assert not set(groups["best"]) & set(groups["worst"])
    assert set(groups["random"]) <= known.keys()


def test_the_lot_is_the_same_for_all_runs() -> None:
    one, other = (choose({f"{i}.jpg": abs(start - i) / 99 for i in range(99)}, lambda name: True) for start in (0, 50))
    assert one["random"] == other["random"]
    assert one["best"] != other["best"]


def test_the_best_show_something(trained: Path, world: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(world.parent, tmp_path / "world")) / world.name
    devkit = data.parent / "devkit"
    for name in ("val_00000", "val_00001"):
        xml = devkit / "Annotations" / f"{name}.xml"
        xml.write_text(re.sub(r"<object>.*</object>", "", xml.read_text(), flags=re.DOTALL))
    with Image.open(devkit / "SegmentationClass" / "val_00000.png") as mask:
        mask.paste(0, (0, 0, *mask.size))
        mask.save(devkit / "SegmentationClass" / "val_00000.png")
    file = load_data_file(data)
    records = read_split(file, "val", label_space(file)).records
    quality = {record.name: 1 - i / 10 for i, record in enumerate(records)}
    draw_gallery(tmp_path, bombo.load(trained, device="cpu", precision="32"), records, quality)
    groups = json.loads((tmp_path / "gallery" / "index.json").read_text())["groups"]
    assert groups["best"] == ["val_00001", "val_00002"]  # the mask alone shows something; the first has nothing
    assert groups["worst"] == ["val_00003", "val_00000"]


def test_pictures_are_small_and_of_one_size(trained: Path, world: Path, tmp_path: Path) -> None:
    file = load_data_file(world)
    records = read_split(file, "val", label_space(file)).records
    quality = {record.name: i / 10 for i, record in enumerate(records)}
    draw_gallery(tmp_path, bombo.load(trained, device="cpu", precision="32"), records, quality)
    index = json.loads((tmp_path / "gallery" / "index.json").read_text())
    assert index["groups"]["best"] == ["val_00003", "val_00002"]
    assert index["groups"]["worst"] == ["val_00000", "val_00001"]
    for own in index["images"].values():
        sizes = set()
        for view in ("image", "annotation", "prediction"):
            with Image.open(tmp_path / "gallery" / f"{own['number']:02}-{view}.jpg") as picture:
                sizes.add(picture.size)
        assert sizes == {tuple(own["size"])} == {(320, 320)}
        assert own["annotation"] == "boxes and mask"
        assert own["quality"] == pytest.approx(quality[next(n for n, o in index["images"].items() if o is own)])
