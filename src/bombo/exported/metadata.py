"""What an exported file says of itself, so that it can be used without the run it came from."""

from __future__ import annotations

from importlib.metadata import version
from typing import Literal

from pydantic import BaseModel, ConfigDict

from bombo.data.label_space import LabelSpace
from bombo.data.view import FILL, Fit
from bombo.engine.model import TorchModel
from bombo.models.box_coding import VARIANCES
from bombo.models.postprocess import MAX_CANDIDATES, MAX_DETECTIONS, MIN_SCORE, NMS_IOU

FORMAT = 1  # raised when an older BoMBo can no longer use the file
KEY = "bombo"  # of the JSON text in an ONNX file's metadata_props, and the stem of the file inside a .pt2 archive
Outputs = Literal["heads", "detections"]


class Metadata(BaseModel):
    """What an exported file says of itself.

    Attributes:
        format: Of this metadata.
        bombo: Version that wrote it.
        outputs: `heads` (logits, deltas and anchors) or `detections` (boxes after suppression and a class map).
        things: Classes with boxes; label `c` is `things[c]`, and mask value `c + 1`.
        stuff: Classes with masks only; their mask values follow those of the things, 0 is background.
        size: (height, width) of the input.
        fit: How images are brought to that size.
        padding: RGB around a letterboxed image.
        input: What the file takes.
        mean: Of each channel, values 0 to 255; subtracted inside the file.
        std: Divided by inside the file, likewise.
        batch_size: Images per call; None for any number.
        opset: Of ONNX; None in other formats.
        box_variances: Of a delta's centre and size: a box's centre is the anchor's + delta * variance * size of the
            anchor, its size the anchor's * exp(delta * variance).
        min_score: Lower detections are left out.
        nms_iou: Of two boxes of one class that overlap more than this, the better stays.
        max_candidates: Largest number of (anchor, class) pairs that reach suppression.
        max_detections: Largest number of boxes per image.
    """

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    bombo: str
    outputs: Outputs
    things: tuple[str, ...]
    stuff: tuple[str, ...]
    size: tuple[int, int]
    fit: Fit
    padding: tuple[int, int, int] = FILL
    input: str = "uint8 RGB 0 to 255, (batch, 3, height, width), normalised inside"
    mean: tuple[float, ...]
    std: tuple[float, ...]
    batch_size: int | None
    opset: int | None
    box_variances: tuple[float, float] = VARIANCES
    min_score: float = MIN_SCORE
    nms_iou: float = NMS_IOU
    max_candidates: int = MAX_CANDIDATES
    max_detections: int = MAX_DETECTIONS

    @classmethod
    def of(cls, model: TorchModel, outputs: Outputs, batch_size: int | None, opset: int | None) -> Metadata:
        """Describes a file made of a trained network."""
        network = model.network
        return cls(
            bombo=version("bombo"),
            outputs=outputs,
            things=model.space.things,
            stuff=model.space.stuff,
            size=model.size,
            fit=model.fit,
            mean=tuple(network.mean.flatten().tolist()),
            std=tuple(network.std.flatten().tolist()),
            batch_size=batch_size,
            opset=opset,
        )

    @property
    def space(self) -> LabelSpace:
        """The classes."""
        return LabelSpace(self.things, self.stuff)
