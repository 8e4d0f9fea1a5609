import pytest

from compvae_pyg.command_line import is_first_process, one_line_errors
from compvae_pyg.training import TrainingDivergedError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("seed must not be negative (got -1)"), "seed must not be negative (got -1)"),
        (FileExistsError("out holds a checkpoint"), "--resume, or --output FOLDER"),
        (TrainingDivergedError("training diverged"), "training diverged"),
        (
            OSError(28, "no checkpoint could be written", "last.ckpt"),
            "no checkpoint could be written",
        ),
    ],
)
def test_what_a_user_can_mend_ends_in_one_line(error, message):
    with pytest.raises(SystemExit) as stop, one_line_errors():
        raise error
    assert str(stop.value).startswith("error: ")
    assert message in str(stop.value)
    assert "\n" not in str(stop.value)


def test_an_interruption_says_how_to_continue_and_has_its_own_status(capsys):
    with pytest.raises(SystemExit) as stop, one_line_errors():
        raise KeyboardInterrupt("stopped at step 5 of 9")
    assert stop.value.code == 130
    assert "stopped at step 5 of 9" in capsys.readouterr().err


def test_what_is_a_mistake_of_the_program_keeps_its_traceback():
    with pytest.raises(KeyError), one_line_errors():
        raise KeyError("oops")


def test_a_process_of_its_own_is_the_first():
    assert is_first_process()
