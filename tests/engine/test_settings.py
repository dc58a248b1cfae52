from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import bombo
from bombo.engine.settings import TrainSettings
from bombo.errors import ConfigError

UNUSABLE = {
    "below its range": ({"epochs": 0}, "epochs"),
    "above its range": ({"warmup": 1.5}, "warmup"),
    "not above zero": ({"lr": 0}, "lr"),
    "not a number": ({"lr": float("nan")}, "lr"),
    "infinite": ({"lr": float("inf")}, "lr"),
    "text for a number": ({"epochs": "three"}, "epochs"),
    "half a step": ({"steps": 1.5}, "steps"),
    "no multiple of 32": ({"size": 65}, "multiple of 32"),
    "no multiple of 8": ({"channels": 20}, "multiple of 8"),
    "not one of the words": ({"optimiser": "adam"}, "'adamw' or 'sgd'"),
    "no precision": ({"precision": 16}, "'bf16'"),
    "no time": ({"max_time": "5x"}, "45s, 90m or 1h30m"),
    "an empty time": ({"max_time": ""}, "45s, 90m or 1h30m"),
    "a seed torch cannot take": ({"seed": 2**63}, "seed"),
    "a negative seed": ({"seed": -1}, "seed"),
    "nothing to learn": ({"detection_weight": 0, "segmentation_weight": 0}, "nothing to learn"),
    "a misspelt setting": ({"epoch": 3}, "Did you mean `epochs`"),
    "a setting unlike any other": ({"zzzz": 3}, "Known: data, config"),
}


@pytest.mark.parametrize(("given", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_settings_are_refused(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainSettings.resolve({"data": "pets.yaml", **given})
    with pytest.raises(ConfigError, match=message):
        bombo.train(data="pets.yaml", **given)
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(given))
    with pytest.raises(ConfigError, match=message) as caught:
        TrainSettings.resolve({"data": "pets.yaml", "config": file})
    assert caught.value.where.startswith(str(file))


def test_weights_that_only_together_leave_nothing_to_learn_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("detection_weight: 0\n")
    with pytest.raises(ConfigError, match="nothing to learn"):
        TrainSettings.resolve({"data": "pets.yaml", "config": file, "segmentation_weight": 0})


UNREADABLE = {
    "missing": (None, r"(?s)file is missing.*fix: check the path"),
    "no mapping": ("- epochs\n", "is no YAML mapping"),
    "empty": ("", "is no YAML mapping"),
    "no YAML": ("epochs: [3", "is not valid YAML"),
    "no text": (b"\xff\xfe\x00\x81", "cannot be read"),
}


@pytest.mark.parametrize(("content", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_files_are_named(content: str | bytes | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=message) as caught:
        TrainSettings.resolve({"data": "pets.yaml", "config": file})
    assert str(file) in caught.value.where


def test_what_is_given_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("data: pets.yaml\nepochs: 5\nlr: 1e-2\nprecision: 32\nfreeze_norm: true\n")
    settings = TrainSettings.resolve({"config": file, "epochs": 7, "freeze_norm": False})
    assert settings.data == Path("pets.yaml")
    assert (settings.epochs, settings.lr, settings.precision, settings.freeze_norm) == (7, 0.01, "32", False)
    assert settings.batch_size == TrainSettings.model_fields["batch_size"].default


STEPS_OR_EPOCHS = {
    "epochs over the file's steps": ("steps: 100", {"epochs": 3}, (3, None)),
    "steps over the file's epochs": ("epochs: 100", {"steps": 3}, (100, 3)),
    "steps stay where neither is given": ("steps: 100", {}, (30, 100)),
    "steps count where both are given": ("steps: 100", {"steps": 9, "epochs": 3}, (3, 9)),
}


@pytest.mark.parametrize(("content", "given", "expected"), STEPS_OR_EPOCHS.values(), ids=STEPS_OR_EPOCHS)
def test_later_epochs_replace_earlier_steps(
    content: str, given: dict[str, Any], expected: tuple[int, int | None], tmp_path: Path
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(content)
    settings = TrainSettings.resolve({"data": "pets.yaml", "config": file, **given})
    assert (settings.epochs, settings.steps) == expected


def test_python_may_give_paths_and_devices_as_what_they_are() -> None:
    given = {"data": Path("pets.yaml"), "weights": Path("w.pt"), "device": torch.device("cpu"), "precision": 32}
    settings = TrainSettings.resolve(given)
    assert (settings.weights, settings.device, settings.precision) == ("w.pt", "cpu", "32")


@pytest.mark.parametrize(("text", "seconds"), [("45s", 45), ("90m", 5400), ("1h30m", 5400), ("1h1m1s", 3661)])
def test_times_are_read(text: str, seconds: int) -> None:
    assert TrainSettings(max_time=text).max_seconds == seconds


def test_there_must_be_data() -> None:
    with pytest.raises(ConfigError, match="no data file"):
        TrainSettings.resolve({})


def test_the_function_has_the_settings_as_its_parameters() -> None:
    parameters = inspect.signature(bombo.train).parameters
    assert {name: p.default for name, p in parameters.items()} == {
        name: field.default for name, field in TrainSettings.model_fields.items()
    }
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters.values())


def test_every_setting_says_what_it_does() -> None:
    assert not [name for name, field in TrainSettings.model_fields.items() if not field.description]
