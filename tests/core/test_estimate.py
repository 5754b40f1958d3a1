import pytest

from cfbench.execute import estimate
from cfbench.execute.estimate import Estimate, duration
from cfbench.plan import Step


def step(kind, name="a"):
    return Step(kind=kind, key=f"{kind}-{name}", label=name, inputs={}, payload={}, heavy=True)


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(estimate.time, "monotonic", lambda: now[0])
    return now


def test_a_running_step_is_extrapolated(clock):
    guess, fit = Estimate(), step("fit_generator")
    guess.needed([fit])
    guess.began(fit)
    guess.progress(fit, 1, 100)
    clock[0] = 30.0
    guess.progress(fit, 25, 100)
    assert guess.left_of(fit) == "1:30 left"
    assert guess.left() == "about 1:30 left"


def test_a_resumed_step_is_judged_by_what_it_does_now(clock):
    guess, fit = Estimate(), step("fit_generator")
    guess.needed([fit])
    guess.began(fit)
    clock[0] = 5.0
    guess.progress(fit, 50, 100)
    assert not guess.left_of(fit)
    clock[0] = 15.0
    guess.progress(fit, 60, 100)
    assert guess.left_of(fit) == "0:40 left"


def test_what_is_not_begun_is_scaled_by_how_this_machine_does(clock):
    guess, one, other = Estimate(), step("fit_generator"), step("fit_generator", "b")
    guess.needed([one, other])
    typical = guess.left()
    guess.began(one)
    clock[0] = 300.0
    guess.ended(one)
    guess.needed([other])
    assert typical == guess.left() == "about 5:00 left", "twice as slow as typical, half the work left"


def test_a_kind_of_step_is_judged_by_its_own_kind(clock):
    guess, fit, looks = Estimate(), step("fit_generator"), [step("judge", str(i)) for i in range(5)]
    guess.needed([fit, *looks])
    guess.began(fit)
    clock[0] = 600.0
    guess.ended(fit)
    guess.began(looks[0])
    clock[0] = 602.0
    guess.ended(looks[0])
    guess.needed(looks[1:])
    assert guess.left() == "about 0:08 left"


def test_steps_that_run_side_by_side_take_half_the_time(clock):
    guess, steps = Estimate(), [step("explain", str(i)) for i in range(6)]
    guess.needed(steps)
    for one in steps[:2]:
        guess.began(one)
    clock[0] = 10.0
    for one in steps[:2]:
        guess.ended(one)
    guess.needed(steps[2:])
    assert guess.left() == "about 0:20 left"
    guess.needed(steps[5:])
    assert guess.left() == "about 0:10 left", "the last one has nobody to share with"


def test_durations_read_well():
    assert [duration(s) for s in (5, 65, 3725)] == ["0:05", "1:05", "1:02:05"]
