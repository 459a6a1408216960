"""The graph as a module of PyTorch: the compacted network for `torch.export` and what reads it."""

import io

import torch
from torch import Tensor, nn

from .execute import arrays_of, check_pictures, run_all
from .graph import Graph, Node


class GraphModule(nn.Module):
    """A network as its graph says, in plain operations of PyTorch; its weights do not train.

    Args:
        graph (Graph): The network, best compacted.
        dtype (torch.dtype): Of the weights, and so of the pictures. Defaults to torch.float32.
    """

    def __init__(self, graph: Graph, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.network = graph
        for number, node in enumerate(graph.nodes()):
            for name, array in arrays_of(node).items():
                self.register_buffer(f'{name}_{number}', torch.as_tensor(array, dtype=dtype))
        self.eval()

    def forward(self, pictures: Tensor) -> Tensor | list[Tensor]:
        """Run the network.

        Args:
            pictures (Tensor): (B, C, H, W), normalized as the network wants them.

        Returns:
            Tensor | list[Tensor]: The output; a list where the network has several.
        """
        results = run_all(self.network, pictures, self._arrays)
        return results[0] if len(results) == 1 else results

    def _arrays(self, number: int, node: Node) -> dict[str, Tensor]:
        return {name: getattr(self, f'{name}_{number}') for name in arrays_of(node)}


def export_program(graph: Graph, size: tuple[int, int]) -> torch.export.ExportedProgram:
    """Export a graph by `torch.export`, for any number of pictures of one size.

    Args:
        graph (Graph): The network, best compacted.
        size (tuple[int, int]): Height and width of the pictures.

    Returns:
        torch.export.ExportedProgram: Takes pictures (B, C, *size), normalized, in float32.

    Raises:
        ValueError: If the network does not take pictures of that size.
    """
    shape = 2, graph.picture.channels, *size
    check_pictures(graph, shape)
    batch = torch.export.Dim('batch', min=1)
    return torch.export.export(
        GraphModule(graph), (torch.zeros(shape),), dynamic_shapes={'pictures': {0: batch}}
    )


def program_bytes(program: torch.export.ExportedProgram) -> bytes:
    """An exported program as a file, which `torch.export.load` reads."""
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()
