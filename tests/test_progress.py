"""What takes long says how far it is, on a terminal and elsewhere."""

from compvae_pyg import Dots
from compvae_pyg.evaluation import evaluate
from compvae_pyg.progress import progress


def test_what_is_soon_done_is_not_shown(capsys):
    assert list(progress(range(3), "sum", "numbers")) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_without_a_terminal_each_state_is_a_line(capsys, slow_clock):
    for number in (bar := progress(range(2), "sum", "numbers")):
        bar.set_postfix_str(f"K={number}")
        bar.update(0)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 3
    assert lines[0].startswith("sum: 0 of 2 numbers, ") and lines[-1].startswith("sum: 2 of 2")
    assert not any("\r" in line for line in lines)


def test_a_terminal_shows_a_bar(capsys, slow_clock, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    list(progress(range(2), "sum", "numbers"))
    assert "\r" in capsys.readouterr().err.rstrip("\r\n ")


def test_each_part_of_an_evaluation_is_shown(capsys, slow_clock, untrained):
    few = {"num_wholes": 8, "num_samples": 2, "num_draws": 2, "num_classified": 4}
    evaluate(untrained, Dots(), num_parts=[1, 2], **few)
    lines = capsys.readouterr().err.splitlines()
    # Wholes, samples of given parts, wholes of any parts, and each of two classifiers.
    assert len([line for line in lines if line.startswith("evaluation: 0 of 2 rows")]) >= 5
    assert lines[-1].startswith("evaluation: 2 of 2 rows") and "K=2" in lines[-1]
