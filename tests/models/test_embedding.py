import torch
from torch import nn

from compvae_pyg.models import SeparateEmbedding


def test_wholes_and_parts_have_networks_of_their_own(batch_of, draw):
    pre, embed = nn.Linear(5, 6).double(), nn.Linear(3, 4).double()
    whole, parts = draw(2, 5), draw(4, 3, seed=1)
    features = SeparateEmbedding(pre, embed)(whole, parts, batch_of((1, 3)))
    torch.testing.assert_close(features[0], pre(whole))
    torch.testing.assert_close(features[1], embed(parts))
