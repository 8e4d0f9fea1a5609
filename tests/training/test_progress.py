import sys


def test_without_a_terminal_lines_come_first_and_last(tmp_path, run, capsys):
    run(tmp_path, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("step 3/20  labels: elbo ")
    assert lines[1].startswith("step 20/20  whole: elbo ")


def test_a_terminal_shows_a_bar(tmp_path, run, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    run(tmp_path, progress=True)
    shown = capsys.readouterr().err.split("\r")[-1]
    assert "20/20" in shown
    for word in ("whole:", "elbo", "kl_w", "kl_z", "rmse"):
        assert word in shown


def test_without_progress_nothing_is_said(tmp_path, run, capfd):
    run(tmp_path)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
