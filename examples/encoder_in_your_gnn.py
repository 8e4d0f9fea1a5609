"""Put a posterior over nodes behind a graph neural network of PyG's.

PyG's GIN classifies random trees of 10 to 30 nodes, to each of which a house or a ring of five
nodes is attached. A ``CompVAEEncoder`` takes the GIN's node embeddings as parts and their mean as
whole: each node gets a latent ``w``, each graph a latent ``z``. A linear head classifies samples of
both, and the loss adds the information in them (a variational information bottleneck), which is
known node by node, in nats.

It runs twice: with messages on the complete graph of the nodes, and on the graph's own edges.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import tyro

from compvae_pyg.command_line import one_line_errors


@dataclass(kw_only=True)
class Options:
    num_graphs: int = 1000
    """Number of training graphs; half as many are held out."""

    epochs: int = 15
    """Number of epochs."""

    beta: float = 0.003
    """Coefficient of the information, in nats, in the loss."""

    seed: int = 0
    """Seed of the graphs, of the parameters and of the noise."""


if __name__ == "__main__":  # before the seconds that the rest takes to import
    OPTIONS = tyro.cli(Options, description=__doc__)

with one_line_errors():
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn
    from torch.distributions import Normal, kl_divergence
    from torch_geometric.data import Data
    from torch_geometric.datasets import ExplainerDataset
    from torch_geometric.datasets.graph_generator import BAGraph
    from torch_geometric.datasets.motif_generator import CycleMotif, HouseMotif
    from torch_geometric.loader import DataLoader
    from torch_geometric.nn import GIN, global_add_pool, global_mean_pool
    from torch_geometric.seed import seed_everything

    from compvae_pyg import CompVAEEncoder, Posterior
    from compvae_pyg.progress import progress


def make_graphs(number: int) -> list[Data]:
    graphs = []
    for i in progress(range(number), "drawing", "graphs"):
        tree = BAGraph(num_nodes=int(torch.randint(10, 31, ())), num_edges=1)
        motif = CycleMotif(5) if i % 2 else HouseMotif()
        drawn = ExplainerDataset(tree, motif, num_motifs=1)[0]
        x, in_motif = torch.ones(drawn.num_nodes, 1), drawn.node_mask > 0
        y = torch.tensor([i % 2])
        graphs.append(Data(x=x, edge_index=drawn.edge_index, y=y, in_motif=in_motif))
    return graphs


class Classifier(nn.Module):
    def __init__(self, own_edges: bool) -> None:
        super().__init__()
        self.own_edges = own_edges
        self.gnn = GIN(1, hidden_channels=32, num_layers=4, norm="batch_norm")
        self.encoder = CompVAEEncoder(
            32, 32, hidden_channels=32, w_channels=8, z_channels=4, num_blocks=1, coupling="scaled"
        )
        self.head = nn.Linear(8 + 4, 2)

    def forward(self, data: Data) -> tuple[Tensor, Posterior]:
        nodes = self.gnn(data.x, data.edge_index)
        posterior = self.encoder(
            global_mean_pool(nodes, data.batch, data.num_graphs),
            nodes,
            data.batch,
            data.num_graphs,
            edge_index=data.edge_index if self.own_edges else None,
        )
        w_sum = global_add_pool(posterior.w.rsample(), data.batch, data.num_graphs)
        return self.head(torch.cat([w_sum, posterior.z_sample], dim=-1)), posterior


STANDARD = Normal(torch.zeros(()), torch.ones(()))


def train(model: Classifier, graphs: list[Data], options: Options) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for _ in progress(range(options.epochs), "training", "epochs"):
        for data in DataLoader(graphs, batch_size=50, shuffle=True):
            scores, posterior = model(data)
            nats = kl_divergence(posterior.w, STANDARD).sum(dim=-1)
            nats = nats + kl_divergence(posterior.z, STANDARD).sum(dim=-1)
            loss = F.cross_entropy(scores, data.y) + options.beta * nats.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@torch.no_grad()
def evaluate(model: Classifier, batches: Iterable[Data]) -> str:
    model.eval()
    right, motif, other = [], [], []
    for data in batches:
        scores, posterior = model(data)
        right.append((scores.argmax(dim=-1) == data.y).float())
        # The information in each node's latent by itself.
        nats = kl_divergence(posterior.w.marginals, STANDARD).sum(dim=-1)
        motif.append(nats[data.in_motif])
        other.append(nats[~data.in_motif])
    accuracy, of_motif, of_other = (float(torch.cat(x).mean()) for x in (right, motif, other))
    return (
        f"accuracy {accuracy:.3f}, nats a node: {of_motif:.2f} in motifs, {of_other:.2f} in trees"
    )


def main(options: Options) -> None:
    seed_everything(options.seed)
    graphs, held_out = make_graphs(options.num_graphs), make_graphs(options.num_graphs // 2)
    for own_edges in (False, True):
        model = Classifier(own_edges)
        train(model, graphs, options)
        name = "the graph's own edges" if own_edges else "the complete graph"
        print(f"{name}: {evaluate(model, DataLoader(held_out, batch_size=50))}", flush=True)


if __name__ == "__main__":
    with one_line_errors():
        main(OPTIONS)
