"""What torch's exporters are given, and how they are kept from talking."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from bombo.errors import BomboError
from bombo.exported.metadata import Metadata


def trace(module: nn.Module, metadata: Metadata) -> ExportedProgram:
    """Records what a module computes for images of the shape the metadata names."""
    # two images where any number may come: torch takes a dimension of one for fixed
    images = torch.zeros(metadata.batch_size or 2, 3, *metadata.size, dtype=torch.uint8)
    dynamic: dict[str, Any] | None = None if metadata.batch_size else {"images": {0: Dim("batch")}}
    with exporter(), torch.no_grad():
        return torch.export.export(module.eval(), (images,), dynamic_shapes=dynamic)


@contextmanager
def exporter() -> Iterator[None]:
    """Keeps an exporter's remarks about itself off the terminal; what matters, the comparison finds out.

    Raises:
        BomboError: The exporter failed.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except Exception as error:  # of any kind: tracing runs the code of the backbone
        cause = error.__cause__ or error
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        raise BomboError(
            f"torch {torch.__version__} cannot export this network ({reason})",
            fix="try the other --format, another release of torch, or another backbone",
        ) from error
    finally:
        logging.disable(before)
