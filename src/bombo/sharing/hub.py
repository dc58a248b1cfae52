"""Sends a trained network to the Hugging Face hub."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import huggingface_hub
from typer import Argument, Option

from bombo.command import checked
from bombo.engine.checkpoint import weights_file
from bombo.errors import BomboError, ConfigError
from bombo.files import atomic_write
from bombo.sharing.fetch import PREFIX, WEIGHTS, check_name, first_line
from bombo.sharing.model_card import model_card


@checked
def push_to_hub(
    run: Annotated[Path, Argument(help="A run's folder.")],
    name: Annotated[str, Argument(help="Where to: OWNER/NAME.")],
    private: Annotated[bool, Option(help="Whether only its owners see a network that is new there.")] = True,
    only_write: Annotated[
        Path | None, Option(help="Write what would be sent to this new folder, and send nothing.")
    ] = None,
) -> str:
    """Share a trained network on the Hugging Face hub, with a model card.

    Sent are the weights, the card and the class table: no image, no annotation, no path of this machine.

    Returns:
        The address to load it by.

    Raises:
        BomboError: There are no weights in the folder, or the hub refuses them.
    """
    check_name(name)
    if only_write is not None:
        if only_write.exists() and (not only_write.is_dir() or any(only_write.iterdir())):
            raise ConfigError("exists already and is not overwritten", where=str(only_write), fix="choose a new folder")
        _gather(run, name, only_write)
        return str(only_write)
    with tempfile.TemporaryDirectory() as temporary:
        _gather(run, name, Path(temporary))
        hub = huggingface_hub.HfApi(library_name="bombo")
        try:
            hub.create_repo(name, private=private, exist_ok=True)
            hub.upload_folder(repo_id=name, folder_path=temporary, commit_message=f"Weights and card of {run.name}")
        except Exception as error:  # the hub's library passes on what its network library raises, and has changed that
            raise BomboError(
                f"cannot be sent ({first_line(error)})",
                where=f"{PREFIX}{name}",
                fix="check the name and the connection, and set HF_TOKEN or run  hf auth login",
            ) from None
    return f"{PREFIX}{name}"


def _gather(run: Path, name: str, folder: Path) -> None:
    weights = weights_file(run)
    card = model_card(weights, name)  # which is also where a file that holds no network is refused
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(weights, folder / WEIGHTS)
    atomic_write(folder / "README.md", card)
    classes = weights.parent / "classes.json"
    if classes.is_file():
        atomic_write(folder / "classes.json", json.dumps(json.loads(classes.read_text()), indent=1) + "\n")
