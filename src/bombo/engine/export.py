"""Writes a trained network as a file other programs can run, and makes sure that it says the same."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from rich.console import Console
from torch import Tensor
from typer import Argument, Option

from bombo.command import checked
from bombo.engine.checkpoint import load, weights_file
from bombo.engine.model import TorchModel
from bombo.errors import BomboError, ConfigError
from bombo.exported.end_to_end import EndToEnd
from bombo.exported.images import generated, of_validation
from bombo.exported.metadata import Metadata
from bombo.exported.onnx_file import OPSET, OnnxFile, to_onnx
from bombo.exported.packages import needed
from bombo.exported.parity import LOST, PIXELS, File, Parity, compare, share
from bombo.exported.torch_file import TorchFile, to_pt2
from bombo.files import atomic_write
from bombo.sharing.fetch import is_address
from bombo.wording import typed

_SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}


@dataclass(frozen=True)
class Written:
    """One exported file.

    Args:
        path: Where it is.
        size: In bytes.
        metadata: What it says of itself.
        parity: How far it is from the network.
    """

    path: Path
    size: int
    metadata: Metadata
    parity: Parity


@dataclass(frozen=True)
class Export:
    """What `export` wrote.

    Args:
        weights: The file it was made of.
        network: Name of its backbone.
        data: The data file whose validation images it was compared on; None for generated images.
        files: The file with the raw heads, then the end-to-end one if it was asked for.
    """

    weights: Path
    network: str
    data: Path | None
    files: tuple[Written, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        files = [
            {
                "path": str(file.path),
                "bytes": file.size,
                "metadata": file.metadata.model_dump(mode="json"),
                "parity": asdict(file.parity),
            }
            for file in self.files
        ]
        return {"weights": str(self.weights), "files": files}


@checked
def export(
    model: Annotated[Path, Argument(help="A run's folder or a weights file.")],
    out: Annotated[Path | None, Option(help="The file to write; without it best.onnx beside best.safetensors.")] = None,
    format: Annotated[Literal["onnx", "torch"], Option(help="onnx, or torch for a .pt2 of torch.export.")] = "onnx",
    batch_size: Annotated[int, Option(min=1, help="Images the file takes per call.")] = 1,
    dynamic_batch: Annotated[bool, Option("--dynamic-batch", help="Let it take any number of images.")] = False,
    end_to_end: Annotated[
        bool,
        Option("--end-to-end", help="Write a second ONNX file, ..._detect.onnx, that gives boxes and a class map."),
    ] = False,
    data: Annotated[
        Path | None, Option(help="Data file: compare on its validation images, not on generated ones.")
    ] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace files that are there.")] = False,
) -> Export:
    """Write a trained network as ONNX or torch.export, and compare it with the original.

    The same images go through PyTorch and through the new file, both in float32 on the CPU. A file that differs by more
    than rounding is not written. Normalisation, classes, input size and all else one needs to know are inside.

    Raises:
        ConfigError: Settings contradict each other, or the packages of the extra `onnx` are not installed.
        BomboError: The weights cannot be used, a file is there already, or the new file says something else.
    """
    if dynamic_batch and batch_size != 1:
        raise ConfigError(f"{batch_size} fixes what --dynamic-batch leaves open", where="batch_size", fix="drop one")
    if end_to_end and format != "onnx":
        raise ConfigError("is for ONNX only", where="end_to_end", fix="leave out --format torch")
    weights = weights_file(model)
    path = out or _beside(model, weights, _SUFFIXES[format])
    if path.suffix != _SUFFIXES[format]:
        raise ConfigError(f"is no name for the format {format}", where=str(path), fix=f"end it in {_SUFFIXES[format]}")
    second = path.with_name(f"{path.stem}_detect{path.suffix}")
    if held := [file for file in (path, *[second] * end_to_end) if file.exists() and not overwrite]:
        raise BomboError("is there already", where=str(held[0]), fix="choose another --out, or add --overwrite")
    network = load(weights, device="cpu", precision="32")
    if not isinstance(network, TorchModel):
        raise ConfigError("is exported already", where=str(weights), fix="give the run or the weights it was made of")
    batch = None if dynamic_batch else batch_size
    size, fit = network.size, network.fit
    images = generated(size, fit) if data is None else of_validation(data, size, fit)
    if format == "onnx":
        needed("onnxruntime")  # known to be missing before minutes are spent on writing what cannot be compared
    with Console(stderr=True).status(f"writing {path} and comparing it with the network"):
        made = [(path, _heads(network, format, batch))]
        if end_to_end:
            made.append((second, to_onnx(EndToEnd(network.network), Metadata.of(network, "detections", batch, OPSET))))
        files = tuple(_compared(file, content, network, images) for file, content in made)
    for file, content in made:
        atomic_write(file, content)
    return Export(weights, network.network.config.backbone, data, files)


def describe(result: Export) -> str:
    """What was written, how it was compared and how far it is from the network, for a person."""
    first = result.files[0]
    meta = first.metadata
    runtime = f"ONNX Runtime {needed('onnxruntime').__version__}" if meta.opset else "the file"
    kind = f"ONNX opset {meta.opset}" if meta.opset else "torch.export"
    of = "generated images" if result.data is None else f"validation images of {result.data}"
    height, width = meta.size
    lines = [
        f"network   {result.weights}: {result.network}, {len(meta.things)} things, {len(meta.stuff)} stuff, "
        f"{height} × {width} px ({meta.fit})",
        f"format    {kind}; takes images ({meta.batch_size or 'any number'}, 3, {height}, {width}), uint8 RGB, "
        "and normalises them itself",
        f"compared  {first.parity.images} {of} through PyTorch and {runtime}, in float32 on the CPU",
    ]
    for each in result.files:
        lines += ["", f"{each.path}   {each.size / 1e6:.1f} MB", *_figures(each.parity)]
    if meta.opset:
        file = typed(first.path)
        lines += ["", f"next      bombo predict {file} photos/        bombo evaluate {file} --data FILE"]
    return "\n".join(lines)


def _figures(parity: Parity) -> list[str]:
    rows = [
        (name, f"differs by {largest:.1g} at most", f"allowed {allowed:.1g}")
        for name, (largest, allowed) in parity.outputs.items()
    ]
    found = f"{parity.lost:,} of {parity.boxes:,} lost, the others at most {parity.apart:.1g} px apart"
    rows.append(("boxes", found, f"allowed {share(LOST)}"))
    rows.append(("mask", f"{share(parity.pixels)} of the pixels differ", f"allowed {share(PIXELS)}"))
    return [f"          {name:<14}{difference:<50}   {allowed}" for name, difference, allowed in rows]


def _beside(model: Path, weights: Path, suffix: str) -> Path:
    """Where the file goes unasked: beside the weights, but not into the store of what was fetched."""
    return Path(model.name.partition("@")[0] + suffix) if is_address(model) else weights.with_suffix(suffix)


def _heads(network: TorchModel, format: Literal["onnx", "torch"], batch: int | None) -> bytes:
    if format == "onnx":
        return to_onnx(network.network, Metadata.of(network, "heads", batch, OPSET))
    return to_pt2(network.network, Metadata.of(network, "heads", batch, None))


def _compared(path: Path, content: bytes, network: TorchModel, images: Tensor) -> Written:
    file: File = OnnxFile(content, str(path)) if path.suffix == ".onnx" else TorchFile(content)
    parity = compare(network, file, images)
    if problems := parity.problems():
        raise BomboError(
            "would not say what the network says, and is not written: " + "; ".join(problems),
            where=str(path),
            fix=f"report it, with the name of the backbone: {network.network.config.backbone}",
        )
    return Written(path, len(content), file.metadata, parity)
