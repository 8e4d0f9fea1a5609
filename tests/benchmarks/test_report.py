import pytest


@pytest.fixture(scope="module")
def report(load_script):
    return load_script("benchmarks/report.py")


def measured(seconds):
    """What pytest-benchmark leaves of wholes by amounts, timed in turn."""
    info = {"problem": "sines", "networks": "small", "wholes": 64, "seconds": seconds}
    benchmark = {"fullname": "benchmarks/test_generation.py::test_amounts", "extra_info": info}
    return {"origin": {}, "benchmarks": [benchmark]}


@pytest.mark.parametrize(("factor", "met"), [(1.08, "yes"), (1.12, "no")])
def test_amounts_are_compared_round_by_round(report, factor, met):
    # The machine slows down in the middle: rounds differ, the ratios within them do not.
    one = [1e-3, 1e-3, 5e-3, 1e-3, 9e-3]
    many = [factor * time for time in one]
    results = report.compact(measured({"1": one, "1,000": one, "1,000,000": many}))
    text = report.generation(results["generation"]["rows"])
    assert f"| {factor:.2f} |" in text.split("| 1,000,000 |")[1]
    aim = f"| amounts of 1,000,000 over amounts of 1: ≤ 1.10 | {factor:.2f} | {met} |"
    assert aim in report.aims(results, {})


def test_an_aim_that_was_not_measured_is_not_shown(report):
    assert "amounts" not in report.aims({}, {})


def test_what_one_thread_measured_stands_beside_the_rest(report):
    slow, fast = (
        report.compact(measured({"1": [1e-3], "1,000,000": [factor * 1e-3]}))
        for factor in (1.3, 1.05)
    )
    fast["generation"]["origin"] = {"command": "pytest --threads 1", "commit": "abc"}
    text = report.aims(slow, fast)
    assert "≤ 1.10 | 1.30 | no | 1.05 | yes |" in text
    assert "`pytest --threads 1` at abc" in text
