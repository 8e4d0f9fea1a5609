"""The layers in other people's models: PyG's batches, copies, exports, processes."""

import copy
import io
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed import HashStore, destroy_process_group, init_process_group
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import global_add_pool

from compvae_pyg import CompVAEEncoder, Dots, GraphBlock

ROOT = Path(__file__).parents[1]
SIZES = (3, 1, 4, 2)


class Latents(nn.Module):
    """An encoder whose output is tensors, and what of it depends on its input alone."""

    def __init__(self):
        super().__init__()
        self.encoder = CompVAEEncoder(5, 4, 6, w_channels=3, z_channels=2, part_noise=False)

    def forward(self, whole, parts, batch, z):
        w = self.encoder(whole, parts, batch, whole.shape[0], z=z).w
        return w.loc, w.scale, w.coupling_logits, w.sum_variance


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = GraphBlock(4, 6), GraphBlock(6, 3, aggr="mean")

    def forward(self, whole, parts, batch, z):
        h = self.first(parts, batch=batch, batch_size=whole.shape[0])
        return (self.second(h, batch=batch, batch_size=whole.shape[0]),)


def inputs(batch_of, sizes=SIZES):
    count = len(sizes)
    return torch.randn(count, 5), torch.randn(sum(sizes), 4), batch_of(sizes), torch.randn(count, 2)


# PyG's batches


def scenes():
    """Graphs with a second set of parts, which has no edges."""
    ring = torch.tensor([[0, 1, 2], [1, 2, 0]])
    return [
        Data(x=torch.randn(3, 2), edge_index=ring, site=torch.randn(size, 4), whole=torch.ones(1))
        for size in SIZES
    ]


def test_sets_that_pyg_follows_beside_the_nodes_are_as_each_alone():
    block, data = GraphBlock(4, 3), scenes()
    loaded = list(DataLoader(data, batch_size=2, follow_batch=["site"]))
    outs = [block(b.site, batch=b.site_batch, batch_size=b.num_graphs) for b in loaded]
    alone = torch.cat([block(scene.site) for scene in data])
    assert_close(torch.cat(outs), alone)
    assert loaded[0].site_batch.shape != loaded[0].batch.shape


def test_nodes_of_a_batch_receive_along_its_edges_what_they_receive_alone():
    block, data = GraphBlock(2, 3, aggr="max"), scenes()
    (batch,) = DataLoader(data, batch_size=len(data))
    alone = torch.cat([block(scene.x, scene.edge_index) for scene in data])
    assert_close(block(batch.x, batch.edge_index, batch.batch), alone)


def test_sums_of_latents_by_pyg_have_the_variance_that_the_distribution_says():
    encoder, data = CompVAEEncoder(1, 4, 8, w_channels=3, z_channels=2), scenes()
    (b,) = DataLoader(data, batch_size=len(data), follow_batch=["site"])
    w = encoder(b.whole.unsqueeze(1), b.site, b.site_batch, b.num_graphs).w
    sums = torch.stack([global_add_pool(w.sample(), b.site_batch) for _ in range(4000)])
    assert_close(sums.var(dim=0), w.sum_variance, rtol=0.15, atol=0.0)


# Copies


@pytest.mark.parametrize("build", [Blocks, Latents])
@pytest.mark.parametrize("how", ["deepcopy", "pickle", "state_dict"])
def test_a_copy_gives_the_same_numbers_and_shares_nothing(batch_of, build, how):
    model, given = build(), inputs(batch_of)
    if how == "deepcopy":
        twin = copy.deepcopy(model)
    elif how == "pickle":
        twin = pickle.loads(pickle.dumps(model))
    else:
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        file.seek(0)
        twin = build()
        twin.load_state_dict(torch.load(file, weights_only=True))
    expected = model(*given)
    assert_close(twin(*given), expected, rtol=0.0, atol=0.0)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    assert_close(model(*given), expected, rtol=0.0, atol=0.0)


def test_a_copied_model_can_be_saved(tmp_path):
    model = pickle.loads(pickle.dumps(copy.deepcopy(Dots().build("small", hidden_channels=8))))
    model.save_pretrained(tmp_path)
    assert type(model).from_pretrained(tmp_path).encoder.hidden_channels == 8


# torch.export

# Older releases of torch say only that something was refused, and where.
REFUSED = "batch_size|Observed exception"


@pytest.mark.usefixtures("compiling")
@pytest.mark.parametrize("build", [Blocks, Latents])
def test_exported_programs_take_sets_of_other_sizes(batch_of, build):
    model = build()
    sets, parts = torch.export.Dim("sets", min=2), torch.export.Dim("parts", min=2)
    program = torch.export.export(
        model,
        inputs(batch_of),
        dynamic_shapes=({0: sets}, {0: parts}, {0: parts}, {0: sets}),
    ).module()
    for sizes in (SIZES, (1, 1, 5), (2, 0, 3, 0, 7)):
        given = inputs(batch_of, sizes)
        assert_close(program(*given), model(*given))


@pytest.mark.parametrize("aggr", ["sum", "max"])
def test_exported_blocks_take_other_edges(aggr):
    block = GraphBlock(4, 3, aggr=aggr)
    parts, edges = torch.export.Dim("parts", min=2), torch.export.Dim("edges", min=2)
    program = torch.export.export(
        block,
        (torch.randn(3, 4), torch.tensor([[0, 1], [1, 2]])),
        dynamic_shapes={"x": {0: parts}, "edge_index": {1: edges}},
    ).module()
    given = torch.randn(6, 4), torch.tensor([[0, 1, 5, 2], [1, 0, 2, 5]])
    assert_close(program(*given), block(*given))


@pytest.mark.usefixtures("compiling")
def test_exporting_without_the_number_of_sets_says_so(batch_of):
    _, parts, batch, _ = inputs(batch_of)
    with pytest.raises(Exception, match=REFUSED):
        torch.export.export(GraphBlock(4, 3), (parts,), {"batch": batch})


# Several processes


@pytest.fixture
def one_process():
    init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield
    destroy_process_group()


class Sum(nn.Module):
    """A loss in which every output has a part."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *given):
        return sum(out.sum() for out in self.model(*given))


class Elbo(nn.Module):
    def __init__(self):
        super().__init__()
        self.problem = Dots()
        self.model = self.problem.build("small", hidden_channels=8)

    def forward(self, *_):
        data = self.problem.sample(torch.tensor([2, 1]))
        parts = self.problem.parts(data)
        return (self.model.elbo(data.whole, parts, data.batch, data.num_graphs).elbo,)


@pytest.mark.parametrize("build", [Blocks, Elbo])
def test_data_parallel_training_finds_no_unused_parameter(batch_of, one_process, build):
    model = DistributedDataParallel(Sum(build()))
    for _ in range(2):  # an unused parameter shows at the next step
        model(*inputs(batch_of)).backward()


def test_data_parallel_training_would_have_given(batch_of, one_process):
    model = Sum(Blocks())
    model.unused = nn.Linear(1, 1)
    model = DistributedDataParallel(model)
    model(*inputs(batch_of)).backward()
    with pytest.raises(RuntimeError, match=r"did not receive grad|not used in producing loss"):
        model(*inputs(batch_of))


# The example


def test_the_example_tells_houses_from_rings_both_ways(tmp_path):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), env.get("PYTHONPATH", "")])
    script = str(ROOT / "examples" / "encoder_in_your_gnn.py")
    done = subprocess.run(
        [sys.executable, script, "--num-graphs", "300", "--epochs", "10"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    accuracies = re.findall(r"accuracy (\d\.\d+)", done.stdout)
    assert len(accuracies) == 2 and min(map(float, accuracies)) > 0.8
