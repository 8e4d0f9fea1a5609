"""That the program of the published schedule takes the steps of that schedule."""

import torch
from torch.testing import assert_close

from benchmarks.train_as_published import main
from compvae_pyg import CompVAE, Sines
from compvae_pyg.training import GeneratedDataset, Schedule


def test_a_step_is_adams_on_the_negative_elbo_of_wholes_of_equally_many_parts(tmp_path):
    main("sines", steps=1, output=tmp_path)
    model = CompVAE.from_pretrained(tmp_path)
    torch.manual_seed(0)
    sines = Sines()
    expected = sines.build("narrow")
    schedule = Schedule.of(sines, "paper", 1, preset="narrow")
    object.__setattr__(schedule.curriculum, "per", "batch")
    batch = GeneratedDataset(sines, schedule)[0]
    assert len(set(batch._store._num_nodes)) == 1 and batch.num_graphs == 256
    adam = torch.optim.Adam(expected.parameters(), lr=1e-4, betas=(0.5, 0.9))
    (-expected.elbo(batch.whole, sines.pack(batch)).elbo.mean()).backward()
    adam.step()
    for (name, value), other in zip(model.named_parameters(), expected.parameters(), strict=True):
        assert_close(value, other, rtol=1e-4, atol=1e-6, msg=name)
    head, row = (tmp_path / "metrics.csv").read_text().splitlines()
    assert head.startswith("step,stage,max_parts,learning_rate,elbo_nats,kl_w_nats")
    assert row.startswith("1,whole,2,0.0001,-")
