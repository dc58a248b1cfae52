from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import bombo
from bombo.data.batch import Batch, collate
from bombo.data.derived import Derived
from bombo.data.sample import Sample
from bombo.engine.training_plots import picture, plot_losses, read_metrics, with_pictures

SIDE = 64


def batch(*, derived: bool) -> Batch:
    image = torch.full((3, SIDE, SIDE), 128, dtype=torch.uint8)
    boxes, labels = torch.tensor([[8.0, 8, 40, 40]]), torch.tensor([0])
    mask = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
    mask[20:50, 20:50] = 2
    samples = [
        Sample(image, boxes, labels, torch.tensor([True]), None),
        Sample(image, None, None, None, mask),
        Sample(image, boxes, labels, torch.tensor([True]), mask),
    ]
    nothing = Derived.nothing(image)
    return collate(samples, ("a", "b", "c"), derived=[nothing] * 3 if derived else None)


def test_a_run_leaves_its_plots(small: dict[str, Any], tmp_path: Path) -> None:
    run = bombo.train(out=tmp_path / "run", **small | {"steps": 4})
    names = {file.name for file in (run.path / "plots").iterdir()}
    assert names == {"labels.png", "batch-1.jpg", "batch-2.jpg", "batch-3.jpg", "losses.png"}
    for name in names:
        with Image.open(run.path / "plots" / name) as image:
            assert min(image.size) > 200


def test_the_picture_shows_what_each_image_carries() -> None:
    without, with_derived = (np.asarray(picture(batch(derived=d), ["cat", "dog"])).astype(int) for d in (False, True))
    assert with_derived.shape[0] == 2 * without.shape[0]
    assert with_derived.shape[1] == without.shape[1]
    third = without.shape[1] // 3
    grey = [np.ptp(without[60:, i * third : (i + 1) * third], axis=2) for i in range(3)]
    coloured = [(each > 30).mean() for each in grey]  # the plain image is grey, only annotation has a colour
    assert coloured[0] > 0.01
    assert coloured[1] > 0.1
    assert coloured[2] > coloured[1]


def test_padding_is_not_drawn() -> None:
    padded = batch(derived=False)
    assert padded.boxes.shape[1] == 1
    picture(padded, ["cat", "dog"])  # image b has a zero row, which is no box


def test_only_the_first_batches_are_drawn_and_all_are_passed_on(tmp_path: Path) -> None:
    given = [batch(derived=False) for _ in range(5)]
    passed = list(with_pictures(iter(given), tmp_path, ["cat", "dog"]))
    assert all(one is other for one, other in zip(given, passed, strict=True))
    assert len(list((tmp_path / "plots").iterdir())) == 3


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([], id="nothing logged"),
        pytest.param([{"step": 1, "lr": 0.1, "det_cls": None, "spoke_for": {"det_cls": 1}}], id="a loss that is null"),
        pytest.param([{"step": 1, "lr": 0.1, "det_cls": 2.0}], id="an older run"),
        pytest.param(
            [{"step": 1, "val": {"figures": {"mAP50": None, "mAP50-95": 0.2, "mIoU": 0.3}}}], id="only an evaluation"
        ),
    ],
)
def test_losses_are_drawn_of_whatever_there_is(lines: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines) + '{"step": 2, "lr"')
    assert read_metrics(tmp_path) == lines
    plot_losses(tmp_path)
    assert (tmp_path / "plots" / "losses.png").stat().st_size > 1000
