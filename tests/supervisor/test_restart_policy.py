"""When the next process starts, and when there is none."""

from __future__ import annotations

from glidemq_supervisor.restart_policy import Death, RestartLimits, RestartPolicy, Verdict


def deaths(policy: RestartPolicy, death: Death, times: list[float], **how: bool) -> list[Verdict]:
    return [
        policy.died(death, now, lifetime_s=0.1, made_progress=how.get("made_progress", False))
        for now in times
    ]


def test_delays_double_from_a_tenth_of_a_second_to_ten_seconds() -> None:
    policy = RestartPolicy(RestartLimits(intensity=100))
    verdicts = deaths(policy, Death.ON_ITS_OWN, [float(second) for second in range(9)])
    assert [verdict.delay_s for verdict in verdicts] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_sixth_death_within_thirty_seconds_is_one_too_many() -> None:
    policy = RestartPolicy(RestartLimits())
    verdicts = deaths(policy, Death.ON_ITS_OWN, [0.0, 1.0, 2.0, 3.0, 4.0, 29.9])
    assert [verdict.give_up for verdict in verdicts] == [False] * 5 + [True]


def test_deaths_that_are_far_enough_apart_go_on_for_ever() -> None:
    policy = RestartPolicy(RestartLimits())
    verdicts = deaths(policy, Death.ON_ITS_OWN, [6.0 * number for number in range(50)])
    assert not any(verdict.give_up for verdict in verdicts)


def test_progress_or_a_long_life_resets_the_delay() -> None:
    policy = RestartPolicy(RestartLimits(intensity=100))
    deaths(policy, Death.ON_ITS_OWN, [0.0, 1.0, 2.0])
    assert policy.died(Death.ON_ITS_OWN, 3.0, lifetime_s=0.5, made_progress=True).delay_s == 0.1
    deaths(policy, Death.ON_ITS_OWN, [4.0, 5.0])
    assert policy.died(Death.ON_ITS_OWN, 60.0, lifetime_s=31.0, made_progress=False).delay_s == 0.1


def test_deaths_in_jobs_are_delayed_a_little_and_never_counted() -> None:
    policy = RestartPolicy(RestartLimits(intensity=0))
    verdicts = deaths(policy, Death.IN_JOB, [float(number) for number in range(20)])
    assert max(verdict.delay_s for verdict in verdicts) == 1.0
    assert not any(verdict.give_up for verdict in verdicts)


def test_server_that_is_away_slows_restarts_down_but_ends_nothing() -> None:
    policy = RestartPolicy(RestartLimits(intensity=0))
    verdicts = deaths(policy, Death.SERVER_AWAY, [float(number) for number in range(20)])
    assert verdicts[-1] == Verdict(10.0)


def test_expected_end_costs_nothing() -> None:
    policy = RestartPolicy(RestartLimits(intensity=0))
    assert deaths(policy, Death.EXPECTED, [0.0, 0.1, 0.2]) == [Verdict(0.0)] * 3


def test_endless_streak_does_not_overflow() -> None:
    policy = RestartPolicy(RestartLimits(intensity=10**6))
    assert deaths(policy, Death.ON_ITS_OWN, [0.0] * 2000)[-1].delay_s == 10.0
