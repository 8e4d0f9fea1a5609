from pathlib import Path

import pytest
import torch

pytest.importorskip("tyro")
pytest.importorskip("matplotlib")

from compvae_pyg import CompVAE
from compvae_pyg.problems.households import SimulatedPool

ROOT = Path(__file__).parents[2]


def test_the_tables_of_the_page_are_of_the_committed_results(load_script):
    script = load_script("benchmarks/households.py")
    page = (ROOT / "docs" / "households.md").read_text(encoding="utf-8")
    for mark, table in script.tables().items():
        assert f"<!-- {mark} -->\n\n{table}\n\n<!-- end -->" in page, mark


@pytest.mark.slow
def test_true_means_of_days_mend_the_profile_of_many_homes(load_script):
    script = load_script("benchmarks/household_days.py")
    torch.manual_seed(0)
    model = CompVAE.from_pretrained("households-small").requires_grad_(False)
    rows = script.measure(model, SimulatedPool("many"), 600)
    error = {name: row["q95_error"] for name, row in rows.items()}
    assert error["true"] < 0.02 and error["true means of days, generated spread"] < 0.02
    assert error["generated"] > 0.04 and error["regression on the conditions, true spread"] > 0.04
