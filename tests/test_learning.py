"""That training teaches what it is for."""

import pytest
import torch

from compvae_pyg import Dots
from compvae_pyg.evaluation import evaluate
from compvae_pyg.training import Schedule, TrainConfig, train


@pytest.mark.slow
def test_two_minutes_of_training_compose_images_of_the_sites_asked_for(tmp_path):
    torch.set_num_threads(2)
    dots = Dots()
    torch.manual_seed(0)
    model = dots.build("small")
    config = TrainConfig(output=tmp_path, progress=False)
    train(dots, model, Schedule.of(dots, num_steps=1_500), config)
    rows = {
        row.num_parts: row
        for row in evaluate(model, dots, num_parts=(1, 4, 8), num_wholes=500, num_classified=0)
    }
    assert rows[1].accuracy_ratio.mean > 0.98
    assert rows[4].accuracy_ratio.mean > 0.95
    assert rows[8].accuracy_ratio.mean > 0.95
    assert rows[4].reconstruction_rmse.mean < 0.06
