from __future__ import annotations

import pytest
import torch
from onnx import TensorProto, helper, load_from_string
from torch import Tensor

from bombo.engine.model import TorchModel
from bombo.errors import BomboError
from bombo.exported.end_to_end import EndToEnd
from bombo.exported.metadata import KEY, Metadata
from bombo.exported.onnx_file import OPSET, OnnxFile, to_onnx
from bombo.exported.parity import compare


@pytest.fixture(scope="module")
def segments(segmenter: TorchModel) -> bytes:
    return to_onnx(segmenter.network, Metadata.of(segmenter, "heads", 3, OPSET))


def test_a_fixed_batch_is_filled_up(segments: bytes, segmenter: TorchModel, images: Tensor) -> None:
    file = OnnxFile(segments, "file")
    for number in (1, 3, 5):
        expected, given = segmenter.forward(images[:number]), file(images[:number])
        assert given["class_logits"].shape == expected.class_logits.shape
        assert given["anchors"].equal(expected.anchors)
        torch.testing.assert_close(given["mask_logits"], expected.mask_logits, atol=1e-4, rtol=1e-4)


def test_a_network_without_things_goes_end_to_end(segmenter: TorchModel, images: Tensor) -> None:
    file = OnnxFile(to_onnx(EndToEnd(segmenter.network), Metadata.of(segmenter, "detections", 1, OPSET)), "file")
    assert compare(segmenter, file, images).problems() == []
    assert (file(images)["labels"] == -1).all()


class Unusual(torch.nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images[images > 3] if images.sum().item() > 1 else images


def test_a_network_that_cannot_be_exported_is_an_error_to_read(segmenter: TorchModel) -> None:
    with pytest.raises(BomboError, match=r"cannot export this network \(") as caught:
        to_onnx(Unusual(), Metadata.of(segmenter, "heads", 1, OPSET))
    assert "\n" not in caught.value.message


def with_metadata(content: bytes, text: str | None) -> bytes:
    model = load_from_string(content)
    model.ClearField("metadata_props")
    if text is not None:
        helper.set_model_props(model, {KEY: text})
    return bytes(model.SerializeToString())


def of_someone_else() -> bytes:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
    graph.output[0].name = "y"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    return bytes(model.SerializeToString())


DAMAGE = {
    "nothing": (lambda whole: b"", "cannot be read as ONNX"),
    "half a file": (lambda whole: whole[: len(whole) // 2], "cannot be read as ONNX"),
    "no ONNX": (lambda whole: b"<html>" * 100, "cannot be read as ONNX"),
    "another program's": (lambda whole: of_someone_else(), "was not written by BoMBo"),
    "no metadata": (lambda whole: with_metadata(whole, None), "was not written by BoMBo"),
    "odd metadata": (lambda whole: with_metadata(whole, "{}"), "its metadata cannot be used"),
    "no JSON": (lambda whole: with_metadata(whole, "{"), "its metadata cannot be used"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_files_that_cannot_be_used_are_named(damage, message: str, segments: bytes) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BomboError, match=message) as caught:
        OnnxFile(damage(segments), "there.onnx")
    assert caught.value.where == "there.onnx"
    assert "bombo export RUN" in caught.value.fix


def test_metadata_of_later_versions_is_refused(segments: bytes, segmenter: TorchModel) -> None:
    later = Metadata.of(segmenter, "heads", 3, OPSET).model_copy(update={"format": 9}).model_dump_json()
    with pytest.raises(BomboError, match="format 9; this version reads format 1"):
        OnnxFile(with_metadata(segments, later), "file")
