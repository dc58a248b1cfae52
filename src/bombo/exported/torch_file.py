"""Files of torch.export (.pt2): writing one, and running one."""

from __future__ import annotations

import io

import torch
from torch import Tensor, nn

from bombo.exported.batches import in_batches
from bombo.exported.metadata import KEY, Metadata
from bombo.exported.tracing import exporter, trace
from bombo.models.network import Network

METADATA_FILE = f"{KEY}.json"  # inside the archive: `torch.export.load(file, extra_files={"bombo.json": ""})`


class _ByName(nn.Module):
    """The outputs as a plain dictionary: an archive that needs BoMBo's own types could not be read without BoMBo."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return dict(self.network(images)._asdict())


def to_pt2(network: Network, metadata: Metadata) -> bytes:
    """Writes a network as one archive of torch.export, weights and metadata inside; it computes on the CPU.

    Raises:
        BomboError: The exporter does not manage.
    """
    buffer = io.BytesIO()
    with exporter():
        program = trace(_ByName(network), metadata)
        torch.export.save(program, buffer, extra_files={METADATA_FILE: metadata.model_dump_json()})
    return buffer.getvalue()


class TorchFile:
    """An archive of torch.export, run without the network's code.

    Args:
        content: The file's bytes.
    """

    def __init__(self, content: bytes) -> None:
        extra = {METADATA_FILE: ""}
        with exporter():
            self._module = torch.export.load(io.BytesIO(content), extra_files=extra).module()
        self.metadata = Metadata.model_validate_json(extra[METADATA_FILE])

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Runs images (B, 3, H, W) uint8, in as many calls as the file's batch size asks for."""
        return in_batches(self._module, images, self.metadata.batch_size)
