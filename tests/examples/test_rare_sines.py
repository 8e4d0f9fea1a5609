import json

import pytest

pytest.importorskip("tyro")
pytest.importorskip("matplotlib")

from matplotlib.image import imread

from compvae_pyg import Sines


@pytest.mark.filterwarnings("ignore:the interval may be too narrow")  # of few samples
def test_the_example_leaves_the_figure_and_the_numbers_that_it_prints(
    load_example, tmp_path, capsys
):
    Sines().build("small").save_pretrained(tmp_path / "model")
    output = tmp_path / "outputs"
    example = load_example("rare_sines")
    example.main(
        example.Options(
            output=output, model=str(tmp_path / "model"), num_samples=200, probability=1e-3
        )
    )
    printed = capsys.readouterr().out
    model, truth = json.loads((output / "evaluation.json").read_text())["rows"]
    assert (model["source"], truth["source"]) == ("model", "truth")
    for row in (model, truth):
        assert row["probability"] == pytest.approx(1e-3, rel=0.3)
        low, high = row["interval"]
        assert low < row["probability"] < high
        assert f"a peak over {row['level']:.3f}" in printed
    # Sixteen waves cannot exceed sixteen, and saturate.
    assert 15.5 < truth["level"] < 16.0
    assert imread(output / "rare.png")[..., :3].std() > 0.05
