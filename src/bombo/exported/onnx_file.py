"""ONNX files: writing one, and running one on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from bombo.errors import BomboError
from bombo.exported.batches import in_batches
from bombo.exported.end_to_end import Found, onnx_translations
from bombo.exported.metadata import FORMAT, KEY, Metadata
from bombo.exported.packages import needed
from bombo.exported.tracing import exporter, trace
from bombo.models.network import Predictions

OPSET = 18  # the one torch's exporter is written in; every other is a conversion of it
INPUT = "images"
_NAMES = {"heads": Predictions._fields, "detections": Found._fields}


def to_onnx(module: nn.Module, metadata: Metadata) -> bytes:
    """Writes a network (`heads`) or an `EndToEnd` (`detections`) as one ONNX file, weights and metadata inside.

    Raises:
        ConfigError: The packages of the extra `onnx` are not installed.
        BomboError: The exporter does not manage.
    """
    needed("onnx")
    translations = onnx_translations()
    program = trace(module, metadata)
    with exporter():
        written = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=_NAMES[metadata.outputs],
            custom_translation_table=translations,
            external_data=False,
            verbose=False,
        )
        assert written is not None
        written.model.metadata_props[KEY] = metadata.model_dump_json()
        return bytes(written.model_proto.SerializeToString())


class OnnxFile:
    """An exported file, run by ONNX Runtime on the CPU with as many threads as torch would use.

    Args:
        content: The file's bytes.
        where: Its name, for messages.

    Raises:
        ConfigError: ONNX Runtime is not installed.
        BomboError: The bytes are damaged, or `bombo export` did not write them.
    """

    def __init__(self, content: bytes, where: str) -> None:
        runtime: Any = needed("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors; warnings are about its own optimisations
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # what a damaged file raises depends on where the damage is
            raise BomboError(
                f"cannot be read as ONNX ({str(error).strip().splitlines()[0]})",
                where=where,
                fix="after a damaged copy, copy it again; or make it anew: bombo export RUN",
            ) from None
        self.metadata = _read(self._session.get_modelmeta().custom_metadata_map.get(KEY), where)

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Runs images (B, 3, H, W) uint8, in as many calls as the file's batch size asks for.

        Returns:
            The outputs by name; `anchors` (A, 4) without a batch dimension.
        """
        return in_batches(self._run, images, self.metadata.batch_size)

    def _run(self, images: Tensor) -> dict[str, Tensor]:
        names = _NAMES[self.metadata.outputs]
        values = self._session.run(names, {INPUT: images.numpy()})
        return {name: torch.from_numpy(value) for name, value in zip(names, values, strict=True)}


def _read(text: str | None, where: str) -> Metadata:
    again = "bombo export RUN"
    if text is None:
        raise BomboError("was not written by BoMBo: its metadata has no key `bombo`", where=where, fix=again)
    try:
        metadata = Metadata.model_validate_json(text)
    except ValidationError as error:
        raise BomboError(
            f"its metadata cannot be used ({error.errors()[0]['msg'].lower()})", where=where, fix=again
        ) from None
    if metadata.format != FORMAT:
        raise BomboError(
            f"its metadata has format {metadata.format}; this version reads format {FORMAT}", where=where, fix=again
        )
    return metadata
