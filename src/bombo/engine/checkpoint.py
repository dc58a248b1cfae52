"""Weights with everything needed to use them, and training state with everything needed to go on."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from bombo.data.label_space import LabelSpace
from bombo.engine.device import choose_device
from bombo.engine.model import Model, TorchModel
from bombo.errors import BomboError
from bombo.exported.onnx_model import OnnxModel
from bombo.files import atomic_write
from bombo.models.network import Network, NetworkConfig
from bombo.models.precision import Precision, choose_precision
from bombo.sharing.fetch import fetch, is_address

FORMAT = 1  # of the weights file's metadata; raised when an old file can no longer be read as is
BEST, LAST, STATE = "best.safetensors", "last.safetensors", "state.pt"


def save_model(path: Path, model: TorchModel, **facts: Any) -> None:
    """Writes one safetensors file: weights, and in its header the network's sizes, the classes and `facts`.

    Args:
        path: The file, replaced as a whole or not at all.
        model: What to save.
        facts: Anything JSON can hold that one may want to know of the weights: step, metrics.
    """
    meta = {
        "format": FORMAT,
        "network": model.network.config.model_dump(),
        "things": model.space.things,
        "stuff": model.space.stuff,
        "size": model.size,
        "fit": model.fit,
        **facts,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.network.state_dict().items()}
    atomic_write(path, safetensors.torch.save(tensors, {"bombo": json.dumps(meta)}))


def load(path: str | Path, *, device: str = "auto", precision: Precision = "auto") -> Model:
    """Loads a trained network; nothing is downloaded, unless the path says `hf://` and there is no copy of it here.

    Args:
        path: A weights file, an ONNX file of `bombo export`, a run's folder (its best weights, or the last where there
            are no best), or an address `hf://owner/name` or `hf://owner/name@revision` on the Hugging Face hub.
        device: auto, cpu, cuda, cuda:1 or mps.
        precision: Number format of the forward pass.

    Raises:
        BomboError: There are no weights there, or the file is none of BoMBo's.
    """
    file = weights_file(path)
    if file.suffix == ".onnx":
        return OnnxModel.load(file, device, precision)
    chosen, _ = choose_device(device)
    dtype, _ = choose_precision(precision, chosen)
    try:
        meta = read_meta(file)
        network = Network(NetworkConfig.model_validate(meta["network"]))
        network.load_state_dict(safetensors.torch.load_file(file))
    except (SafetensorError, KeyError, ValidationError, RuntimeError, OSError) as error:
        raise _unreadable(file, error) from None
    space = LabelSpace(tuple(meta["things"]), tuple(meta["stuff"]))
    size = (meta["size"][0], meta["size"][1])
    return TorchModel(space, size, meta["fit"], network.to(chosen).eval(), chosen, dtype)


def read_meta(file: Path) -> dict[str, Any]:
    """The header of a weights file: format, network, classes, size, step, figures.

    Raises:
        BomboError: The file is none of BoMBo's, or damaged.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            meta = dict(json.loads((opened.metadata() or {}).get("bombo", "{}")))
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise _unreadable(file, error) from None
    if meta.get("format") != FORMAT:
        found = meta.get("format", "no format: it was not written by BoMBo")
        raise BomboError(f"format {found}; this version reads format {FORMAT}", where=str(file))
    return meta


def _unreadable(file: Path, error: Exception) -> BomboError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return BomboError(
        f"cannot be read as trained weights ({reason})",
        where=str(file),
        fix="use best.safetensors or last.safetensors of a run; after a damaged copy, copy it again",
    )


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes training state: only tensors and plain types, so that reading it can run no code."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    atomic_write(path, buffer.getvalue())


def load_state(folder: Path) -> dict[str, Any]:
    """Reads a run's training state to the CPU.

    Raises:
        BomboError: The folder holds no state, or a damaged one.
    """
    file = folder / STATE
    if not file.is_file():
        raise BomboError(
            f"there is no {STATE} to resume from",
            where=str(folder),
            fix="give a run's folder, for instance runs/pets-1",
        )
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive raises whatever its bytes happen to mean
        raise BomboError(
            f"cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__})",
            where=str(file),
            fix=f"start a new run; the weights so far are in {folder / LAST}",
        ) from None
    return dict(state)


def weights_file(path: str | Path) -> Path:
    """The weights a path means: a file, the best of a run's folder (or its last), or a copy of `hf://owner/name`.

    Raises:
        BomboError: There are none.
    """
    if is_address(path):
        return fetch(path)
    path = Path(path)
    if path.is_dir():
        for name in (BEST, LAST):
            if (path / name).is_file():
                return path / name
        raise BomboError(
            f"holds neither {BEST} nor {LAST}", where=str(path), fix="give a run's folder or a weights file"
        )
    if not path.is_file():
        raise BomboError(
            "there is no such file or folder", where=str(path), fix="give a run's folder or a weights file"
        )
    return path
