"""What the inference network sees of wholes and parts."""

from torch import Tensor, nn

from compvae_pyg.nn import Fields
from compvae_pyg.nn.checks import call_network, check_type
from compvae_pyg.nn.packed import map_context
from compvae_pyg.nn.rows import gather

__all__ = ["SeparateEmbedding"]


class SeparateEmbedding(nn.Module):
    r"""Features of wholes and of parts, each from a network of its own (paper, section 3.3.1).

    Either may also read the ``context``, a row for each whole or each part, if its ``forward`` has
    an argument of that name.

    Args:
        whole_embedding: :math:`\mathrm{pre}(x)`, from ``[S, *event]`` to ``[S, whole_channels]``.
        part_embedding: :math:`e(\ell_i)`, from parts to ``[N, part_channels]``.

    Raises:
        TypeError: If a network is no module.
        ValueError: When called, if a network does not take what it is given.

    Example:
        >>> import torch
        >>> embedding = SeparateEmbedding(nn.Linear(20, 8), nn.Embedding(5, 6))
        >>> batch = torch.tensor([0, 0, 1])
        >>> whole, parts = embedding(torch.randn(2, 20), torch.tensor([1, 4, 0]), batch)
        >>> whole.shape, parts.shape
        (torch.Size([2, 8]), torch.Size([3, 6]))
    """

    def __init__(self, whole_embedding: nn.Module, part_embedding: nn.Module) -> None:
        super().__init__()
        check_type(whole_embedding, "whole_embedding", nn.Module)
        check_type(part_embedding, "part_embedding", nn.Module)
        self.whole_embedding = whole_embedding
        self.part_embedding = part_embedding

    def forward(
        self, whole: Tensor, parts: Fields, batch: Tensor, context: Fields | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the features of the wholes and of the parts."""
        of_parts = map_context(lambda value: gather(value, batch), context)
        return (
            call_network(self.whole_embedding, "whole_embedding", context, whole=whole),
            call_network(self.part_embedding, "part_embedding", of_parts, fields=parts),
        )
