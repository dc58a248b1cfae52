"""The page that goes with shared weights: what they know, what they were taught with, how good they are."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jinja2
import yaml

from bombo.engine.checkpoint import read_meta
from bombo.engine.run_folder import CONFIG, DATA, METRICS

_TEMPLATE = Path(__file__).with_name("model_card.md.j2")
_SHOWN = ("method", "backbone", "size", "fit", "steps", "epochs", "batch_size", "optimiser", "lr", "seed")


def model_card(weights: Path, name: str) -> str:
    """Markdown with the front matter the hub reads.

    What a run's folder does not hold (a single weights file has no folder) is left out.

    Args:
        weights: The weights file; what is said of data and figures comes from the folder it lies in.
        name: OWNER/NAME on the hub.
    """
    folder, meta = weights.parent, read_meta(weights)
    config = _yaml(folder / CONFIG)
    settings = {key: config[key] for key in _SHOWN if config.get(key) is not None}
    if settings.get("steps"):
        settings.pop("epochs", None)
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False
    )
    environment.filters["percent"] = _percent
    environment.filters["cell"] = lambda text: str(text).replace("|", r"\|").replace("\n", " ")
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        name=name,
        meta=meta,
        data=_json(folder / DATA).get("train"),
        evaluation=_last_evaluation(folder, meta.get("step")),
        settings=settings,
        data_file=Path(str(config.get("data", "data.yaml"))).name,
        versions=_json(folder / "environment.json").get("packages", {}),
        backbone=meta["network"]["backbone"],
        title=json.dumps(name.partition("/")[2]),
    )


def _last_evaluation(folder: Path, step: int | None) -> dict[str, Any] | None:
    """The evaluation of these weights."""
    file = folder / METRICS
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    found = [entry["val"] for line in lines if '"val"' in line and (entry := json.loads(line))["step"] == step]
    return found[-1] if found else None


def _json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _yaml(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _percent(share: float | None) -> str:
    return "–" if share is None or math.isnan(share) else f"{100 * share:.1f}"
