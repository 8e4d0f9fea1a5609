"""What only a GPU can show."""

from dataclasses import replace

import pytest
import torch

from compvae_pyg import CompVAEEncoder, Dots, Sines
from compvae_pyg.nn import PackedParts
from compvae_pyg.training import GeneratedDataset, Schedule, objective

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

PROBLEMS = {"dots": Dots(), "sines": Sines()}


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", PROBLEMS)
def test_a_step_does_not_wait_for_the_device(name, precision):
    problem, device = PROBLEMS[name], torch.device("cuda")
    schedule = replace(Schedule.of(problem), batch_size=16)
    model = problem.build("small").to(device)
    dataset = GeneratedDataset(problem, schedule, device=device)
    optimiser = torch.optim.Adam(model.parameters(), fused=True)
    last = len(dataset) - 1

    def step():
        batch = dataset[last]
        with torch.autocast("cuda", precision, enabled=precision != torch.float32):
            terms = model.elbo(batch.whole, problem.parts(batch), batch.batch, batch.num_graphs)
        objective(terms, batch.whole, schedule.at(last)).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1e3)
        optimiser.step()
        optimiser.zero_grad()

    step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_cuda_graphs_replay_padded_batches():
    torch.manual_seed(0)
    encoder = CompVAEEncoder(32, 64, 64, 32, 32, part_noise=False).cuda().eval()

    def means(whole, features, batch, batch_size, z):
        return encoder(whole, features, batch, batch_size, z=z).w.loc

    compiled = torch.compile(means, mode="reduce-overhead", fullgraph=True, dynamic=False)
    with torch.no_grad():
        for seed in range(6):
            sizes = torch.randint(1, 9, (12,), generator=torch.Generator().manual_seed(seed))
            batch = torch.arange(12).repeat_interleave(sizes).cuda()
            whole, z = torch.randn(12, 32).cuda(), torch.randn(13, 32).cuda()
            features = torch.randn(len(batch), 64).cuda()
            padded = PackedParts(features, batch, 12).pad(100)
            torch.compiler.cudagraph_mark_step_begin()
            given = torch.cat([whole, whole[:1]]), padded.fields, padded.batch, 13, z
            out = compiled(*given)[: len(batch)].clone()
            expected = means(whole, features, batch, 12, z[:12])
            torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
