"""Networks from the Hugging Face hub, where a path says `hf://`: all that BoMBo itself fetches from a network.

What was fetched once is read from the disk from then on.
"""

from __future__ import annotations

import re
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from bombo.errors import BomboError, ConfigError

PREFIX, WEIGHTS = "hf://", "model.safetensors"
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def is_address(path: str | Path) -> bool:
    """Whether a path means a network on the hub; `Path` makes one slash of two."""
    return str(path).startswith("hf:/")


def fetch(path: str | Path) -> Path:
    """Weights of `hf://owner/name` or `hf://owner/name@revision`, as a local file.

    A copy that is on this machine is used without asking the hub, a name without revision included: to follow changes
    name the revision.

    Raises:
        ConfigError: The address is none.
        BomboError: The hub cannot be reached, or has no such network.
    """
    address = PREFIX + str(path).removeprefix("hf:").lstrip("/")
    name, _, revision = address.removeprefix(PREFIX).partition("@")
    check_name(name, PREFIX)
    try:
        return Path(_download(name, revision, local=True))
    except LocalEntryNotFoundError:
        pass  # not here yet
    try:
        return Path(_download(name, revision, local=False))
    except Exception as error:  # the hub's library passes on what its network library raises, and has changed that
        raise BomboError(
            f"cannot be fetched ({first_line(error)})",
            where=address,
            fix="check the name and the connection; for a private network set HF_TOKEN or run  hf auth login",
        ) from None


def check_name(name: str, prefix: str = "") -> None:
    """Checks that a name is OWNER/NAME.

    Args:
        name: The name.
        prefix: What is typed before it.

    Raises:
        ConfigError: It is not.
    """
    reason = "is no address on the hub"
    if _NAME.fullmatch(name):
        try:
            validate_repo_id(name)
            return
        except HFValidationError as error:  # the hub's finer rules
            reason += f" ({first_line(error)})"
    raise ConfigError(reason, where=f"{prefix}{name}", fix=f"write  {prefix}OWNER/NAME")


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _download(name: str, revision: str, *, local: bool) -> str:
    return str(
        huggingface_hub.hf_hub_download(
            name, WEIGHTS, revision=revision or None, library_name="bombo", local_files_only=local
        )
    )
