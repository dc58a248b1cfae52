"""Folders of runs as training leaves them, written by hand: a report needs no network."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

RunMaker = Callable[..., Path]
FIGURES = ("mAP50-95", "mAP50", "mAP75", "VOC_AP50", "mIoU", "pixel_accuracy")
WEAK = {"b4m_label": 4e5, "b4m_dice": 4, "m4b_cls": 9, "m4b_box": 60}


@pytest.fixture
def make_run() -> RunMaker:
    return write_run


@pytest.fixture
def make_ablation() -> RunMaker:
    return write_ablation


def write_run(
    path: Path,
    classes: tuple[str, ...] = ("cat", "dog", "grass"),
    *,
    steps: int = 400,
    done: int | None = None,
    method: str = "bombo",
    quality: float = 0.5,
    without: tuple[str, ...] = (),
    settings: dict[str, Any] | None = None,
    followed: bool = False,
) -> Path:
    """A run with two things and the rest stuff; `without` names the files it lacks.

    Of one that `followed` its pseudo-labels, they were scored and drawn.
    """
    done = steps if done is None else done
    things = classes[:2]
    config = {"data": "pets.yaml", "seed": 0, "backbone": "resnet18", "method": method, "losses": None, "steps": steps}
    evaluation = _evaluation(classes, things, quality)
    table = [
        {"name": name, "label": i, "mask_value": i + 1, "kind": "thing" if name in things else "stuff"}
        for i, name in enumerate(classes)
    ]
    content = {
        "config.yaml": yaml.safe_dump(config | (settings or {}), sort_keys=False),
        "classes.json": json.dumps({"others": "background", "classes": table}),
        "environment.json": json.dumps(
            {"command": "bombo train --data pets.yaml", "device": "cpu", "packages": {"torch": "2.15.0"}}
        ),
        "data.json": json.dumps(_data(classes, things)),
        "metrics.jsonl": "".join(
            json.dumps(line) + "\n" for line in _metrics(done, steps, method, evaluation, followed)
        ),
        "evaluation.json": json.dumps({"step": done, **evaluation, **_details(classes, things, quality)}),
        "gallery/index.json": json.dumps(_gallery(quality)),
    }
    for name, text in content.items():
        if name not in without:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(text, encoding="utf-8")
    for number, colour in enumerate(("teal", "olive", "maroon"), start=1):
        for view in ("image", "annotation", "prediction"):
            if "gallery/index.json" not in without:
                Image.new("RGB", (96, 64), colour).save(path / "gallery" / f"{number:02}-{view}.jpg")
    if followed:
        (path / "pseudo_labels").mkdir(parents=True, exist_ok=True)
        shown = [{"name": "d.jpg", "carries": "boxes"}, {"name": "e.jpg", "carries": "mask"}]
        (path / "pseudo_labels" / "index.json").write_text(json.dumps(shown))
        for name in (f"{i}-{when}" for i in (1, 2) for when in ("given", *range(100, done + 1, 100))):
            Image.new("RGB", (96, 64), "purple").save(path / "pseudo_labels" / f"{name}.jpg")
    if "plots" not in without:
        (path / "plots").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (800, 120), "grey").save(path / "plots" / "batch-1.jpg")
    return path


def write_ablation(path: Path, arms: dict[str, float], **run: Any) -> Path:
    """An ablation whose arms reach those figures, with one seed each."""
    low, high = arms.get("skip", math.nan), arms.get("oracle", math.nan)
    figures = {}
    for arm, value in arms.items():
        write_run(path / arm / "seed-0", quality=value, **run)
        closed = (value - low) / (high - low) if high > low else None
        own = {"values": [value], "mean": value, "spread": None, "gap_closed": closed}
        figures[arm] = dict.fromkeys(("mAP50", "mAP50-95", "mIoU"), own)
    comparison = {"seeds": {arm: [0] for arm in arms}, "figures": figures}
    (path / "results.json").write_text(json.dumps({"note": "Percent; one seed.", "comparison": comparison}))
    (path / "ablation.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>')
    return path


def _evaluation(classes: tuple[str, ...], things: tuple[str, ...], quality: float) -> dict[str, Any]:
    per_class = {}
    for i, name in enumerate(classes):
        value = round(quality - 0.1 * i, 4)
        boxes = {"AP50": value, "AP50-95": value / 2, "VOC_AP50": value} if name in things else {}
        per_class[name] = {**boxes, "IoU": value + 0.05}
    figures = {name: round(quality - 0.02 * i, 4) for i, name in enumerate(FIGURES)}
    return {"images": {"detection": 20, "segmentation": 18}, "figures": figures, "per_class": per_class, "skipped": {}}


def _details(classes: tuple[str, ...], things: tuple[str, ...], quality: float) -> dict[str, Any]:
    curve = [round(max(0.0, 1 - (i / 100) ** (4 * quality)), 4) for i in range(101)]
    boxes = [[8, 2, 1], [1, 7, 3], [2, 0, 0]]
    masks = [[900 if i == j else 40 for j in range(len(classes) + 1)] for i in range(len(classes) + 1)]
    return {
        "curves": dict.fromkeys(things, curve),
        "confusion": {
            "boxes": {"score": 0.3, "iou": 0.5, "names": [*things, "nothing"], "counts": boxes},
            "masks": {"names": ["background", *classes], "counts": masks},
        },
        "quality": {"a": 0.9, "b": 0.1, "c": 0.5},
    }


def _data(classes: tuple[str, ...], things: tuple[str, ...]) -> dict[str, Any]:
    own = {
        name: {
            "kind": "thing" if name in things else "stuff",
            "boxes": 30 * (name in things),
            "images_with_boxes": 25 * (name in things),
            "pixel_share": 0.04,
            "images_with_pixels": 12,
        }
        for name in classes
    }
    images = {"boxes": 1180, "masks": 904, "both": 12, "none": 0}
    return {"train": {"images": images, "masks": 916, "masks_read": 916, "classes": own}, "val_images": 20}


def _metrics(done: int, steps: int, method: str, evaluation: dict[str, Any], followed: bool) -> list[dict[str, Any]]:
    noise, lines = random.Random(0), []
    for step in range(20, done + 1, 20):
        fall = math.exp(-3 * step / steps)
        losses = {"det_cls": fall, "det_box": 0.4 + fall, "seg_ce": 0.2 + fall}
        losses |= dict.fromkeys(WEAK, 0.1 + fall / 3) if method != "skip" else {}
        losses = {name: round(value * noise.uniform(0.95, 1.05), 4) for name, value in losses.items()}
        spoke = {name: WEAK.get(name, 8) * (1 + step / steps) for name in losses}
        lines.append(
            {
                "step": step,
                "epoch": step / 100,
                "lr": 0.001,
                **losses,
                "spoke_for": spoke,
                "images_with_boxes": 8 * step,
                "seconds": step / 2,
                "memory": 1e9,
            }
        )
        if step % 100 == 0:
            grown = {name: value * step / steps for name, value in evaluation["figures"].items()}
            scored = {"pseudo_labels": _scored(step / steps)} if followed else {}
            lines.append({"step": step, "epoch": step / 100, "val": {**evaluation, "figures": grown}, **scored})
    return lines


def _scored(progress: float) -> dict[str, Any]:
    masks = {"mIoU": 0.6 + 0.2 * progress, "coverage": 0.9, "provider_mIoU": 0.6, "provider_coverage": 0.95}
    boxes = {"recall50": 0.7, "precision50": 0.5 + 0.3 * progress}
    alone = {"components_recall50": 0.7, "components_precision50": None}
    return {"masks": {"images": 12, **masks}, "boxes": {"images": 12, **boxes, **alone}}


def _gallery(quality: float) -> dict[str, Any]:
    names = ["a.jpg", "b.jpg", "c.jpg"]
    images = {
        name: {"number": i, "size": [96, 64], "annotation": ("boxes and mask", "boxes", "mask")[i - 1], "quality": q}
        for i, (name, q) in enumerate(zip(names, (quality, 0.1, 0.3), strict=True), start=1)
    }
    return {"groups": {"best": names[:1], "worst": names[1:2], "random": names[2:]}, "images": images}
