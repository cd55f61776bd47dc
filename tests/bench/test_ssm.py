"""What the bench of SSM says of its runs."""

from __future__ import annotations

from bench.ssm import Sample, aims, render

OURS = Sample(4.7, 1, 7, 0.9, 0.8, (0.4,))
OLD = Sample(14.5, 1, 3, 0.3, 0.8, (10.0,))
DEPLOY = Sample(20.0, 8, 40, 5.6, 6.4, (0.3,) * 7 + (0.9,))
FOUND = {
    ("audit", "switchproof"): [OURS, OURS],
    ("audit", "10 s polling"): [OLD, OLD],
    ("deploy", "switchproof"): [DEPLOY, DEPLOY],
    ("deploy", "10 s polling"): [OLD, OLD],
}


def test_a_row_says_where_the_time_went() -> None:
    """Commands, requests, wall time, and the shares of host, AWS and waiting stand in each row."""
    assert "| audit | switchproof | 1 | 7 | 4.7 s | 4.7 to 4.7 s | 0.9 s | 0.8 s | 0.4 s | 0.4 s |" in render(
        FOUND, 2
    )
    assert "| deploy | switchproof | 8 | 40 | 20.0 s | 20.0 to 20.0 s | 5.6 s | 6.4 s | 3.0 s | 0.9 s |" in render(
        FOUND, 2
    )


def test_an_aim_that_was_missed_is_said() -> None:
    """An aim counts as reached only if every run reached it."""
    assert aims(FOUND) == [
        "an audit costs one command: yes (1)",
        "waiting adds less than 1 s to one audit: yes (0.40 s)",
        "waiting adds less than 1 s to one deploy: no (3.00 s)",
        "and to any one command: yes (0.90 s)",
    ]
    worse = {**FOUND, ("audit", "switchproof"): [OURS, Sample(9.0, 2, 9, 1.0, 1.6, (0.4, 1.2))]}
    assert [line.partition(": ")[2] for line in aims(worse)] == [
        "no (2)",
        "no (1.60 s)",
        "no (3.00 s)",
        "no (1.20 s)",
    ]
