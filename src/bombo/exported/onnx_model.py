"""An ONNX file in the part of a trained network: `bombo predict` and `bombo evaluate` take it as they take a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from torch import Tensor

from bombo.engine.model import Model
from bombo.errors import BomboError, ConfigError
from bombo.exported.onnx_file import OnnxFile
from bombo.models.network import Predictions
from bombo.models.precision import Precision


@dataclass(frozen=True)
class OnnxModel(Model):
    """A network that ONNX Runtime computes.

    Args:
        file: With the outputs `heads`.
    """

    file: OnnxFile

    @classmethod
    def load(cls, path: Path, device: str, precision: Precision) -> Self:
        """Opens a file of `bombo export`.

        Raises:
            ConfigError: ONNX Runtime is not installed, a device or precision is asked for that the file does not have,
                or the file is the end-to-end one.
            BomboError: The file is damaged, or `bombo export` did not write it.
        """
        weights = "give the run or the weights it was made of"
        if device not in ("auto", "cpu"):
            raise ConfigError(f"{path.name} computes on the CPU, not on {device}", where="device", fix=weights)
        if precision not in ("auto", "32"):
            raise ConfigError(f"{path.name} computes in float32, not in {precision}", where="precision", fix=weights)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BomboError(f"cannot be read ({error.strerror or error})", where=str(path)) from None
        file = OnnxFile(content, str(path))
        meta = file.metadata
        if meta.outputs != "heads":
            raise ConfigError(
                "is the end-to-end file, for programs without BoMBo",
                where=str(path),
                fix="give the one without _detect that was written beside it",
            )
        return cls(meta.space, meta.size, meta.fit, file)

    def forward(self, inputs: Tensor) -> Predictions:
        """As `Model.forward`."""
        return Predictions(**self.file(inputs.cpu()))
