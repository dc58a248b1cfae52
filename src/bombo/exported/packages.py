"""The packages of the extra `onnx`, asked for when they are needed."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from bombo.errors import ConfigError


def needed(name: str) -> ModuleType:
    """Imports `onnx`, `onnxscript` or `onnxruntime`.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        fix = "pip install '.[onnx]' in BoMBo's folder"
        raise ConfigError(f"ONNX files need the package `{name}` ({error})", fix=fix) from None
