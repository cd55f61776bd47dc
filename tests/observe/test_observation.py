"""What a host says it saw becomes data, whole or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchproof.deploy.host.frame import Frame, FrameError
from switchproof.deploy.observe.answers import Answer
from switchproof.deploy.observe.observation import Observation, read_observation
from switchproof.deploy.observe.parts.listeners import Listener
from switchproof.deploy.observe.parts.processes import Process, Program
from switchproof.deploy.observe.parts.system import read_system
from switchproof.deploy.observe.parts.units import Unit, read_failed, read_units
from switchproof.deploy.observe.parts.watch import Streak
from switchproof.deploy.record.events import SystemIdentity
from tests.answers import (
    BODIES,
    HYPERVISOR,
    LIVE,
    NAR_HASH,
    RUNNING,
    SECTIONS,
    SHA,
    TOPLEVEL,
    answers,
    frame,
    presence,
    unit_show,
)

NEEDED = [name for name in SECTIONS if name != "processes"]
LISTS = ["watch.series", "watch.units", "watch.settled", "listeners", "diagnosable", "units.definition", "processes"]


def observed(**changes: str | None) -> Observation:
    return read_observation(frame({name.replace("__", "."): text for name, text in changes.items()}))


def streak(series: str, units: str = presence(100.25, **RUNNING), ended: str = "103.50") -> Streak:
    seen = observed(watch__series=series, watch__units=units, watch__ended=ended)
    return seen.streak(seen.answers.get("live", ()), LIVE)


def good(*at: float) -> str:
    return answers("live", *((time, "yes") for time in at))


def bad(*at: float) -> str:
    return answers("live", *((time, "no") for time in at))


def test_healthy_host_is_seen_whole() -> None:
    """Every part of a healthy host's answer becomes what it is."""
    seen = observed()
    assert seen.system.commit == SHA
    assert seen.system.identity.toplevel == seen.system.profile == TOPLEVEL
    assert seen.system.identity.nar_hash == NAR_HASH
    assert (seen.system.generation, seen.watched_s) == (42, 3.5)
    assert seen.clock == pytest.approx(1763910000.123)
    assert list(seen.units) == [HYPERVISOR, *LIVE]
    assert seen.units[HYPERVISOR] == Unit(
        HYPERVISOR, "loaded", "active", "running", "success", 410, "a" * 32, 0, 0, "d" * 64
    )
    assert seen.healthy
    assert seen.failed == ()
    assert [answer.at for answer in seen.answers["live"]] == [0.25, 1.25, 2.25, 3.25]
    assert seen.answers["live"][0] == Answer(
        0.25, True, 200, 0.001, 0.002, 0, "", "127.0.0.1:8080", BODIES["live"].encode()
    )
    assert seen.backends == {}
    assert seen.processes == (Process(HYPERVISOR, 410, f"{TOPLEVEL}/bin/busybox", ()),)
    assert seen.listeners[0] == Listener("127.0.0.1:9090", 410, HYPERVISOR)
    assert seen.diagnosable == {
        f"systemctl {HYPERVISOR}": 512,
        f"journalctl {HYPERVISOR}": 4096,
        "ss sockets": 900,
        "journald line": 1,
    }
    assert seen.streak(seen.answers.get("live", ()), LIVE) == Streak(4, 3.25, identity_kept=True)
    assert seen.restarts(LIVE) == []


@pytest.mark.parametrize("part", NEEDED)
def test_missing_part_makes_the_whole_unseen(part: str) -> None:
    """An answer that lacks any of its parts is no observation, and the part is named."""
    with pytest.raises(FrameError, match=f"lacks the part '{part}'"):
        read_observation(frame({part: None}))


def test_closure_that_could_not_be_read_is_not_nothing() -> None:
    """That processes could not be judged is told apart from that there are none."""
    assert observed(processes=None).processes is None
    assert observed(processes="").processes == ()


@pytest.mark.parametrize("part", LISTS)
@pytest.mark.parametrize("odd", ["x", "one two three four five six seven eight nine", "a  b", "at", "at soon", " "])
def test_odd_line_makes_the_whole_unseen(part: str, odd: str) -> None:
    """A line that is none of ours, before or after the others, is an error and never skipped."""
    for text in (f"{odd}\n{SECTIONS[part]}", f"{SECTIONS[part]}{odd}\n"):
        try:
            seen = read_observation(frame({part: text}))
        except FrameError:
            continue
        assert part in {"watch.settled", "units.definition", "processes", "watch.units"}
        assert seen != observed() or part == "units.definition"


@given(st.sampled_from([*LISTS, *NEEDED]), st.text(max_size=80))
def test_garbage_is_seen_or_refused(part: str, text: str) -> None:
    """Whatever stands in a part, the answer is read or refused, and nothing else goes wrong."""
    try:
        seen = read_observation(frame({part: text}))
    except FrameError:
        return
    seen.streak(seen.answers.get("live", ()), LIVE)
    seen.restarts(LIVE)


@pytest.mark.parametrize(
    "number", ["nan", "inf", "Infinity", "1e9", "-1", "+1", " 1", "1_0", "", "0x1", "1.5.5", "\u0661"]
)
@pytest.mark.parametrize("part", ["watch.began", "watch.ended", "system.clock", "watch.series"])
def test_seconds_are_plain_numbers(part: str, number: str) -> None:
    """A time that is no plain decimal number, such as one that no soak is longer than, is refused."""
    text = good(101.0).replace("101.00", number) if part == "watch.series" else number
    with pytest.raises(FrameError):
        read_observation(frame({part: text}))


@pytest.mark.parametrize("reader", [read_system, read_units, read_failed])
def test_note_of_before_is_read_or_refused(reader: object) -> None:
    """What a host was before is read by parts, each of which is refused if it is not there."""
    assert callable(reader)
    reader(frame(verb="before"))
    with pytest.raises(FrameError):
        reader(Frame("before", {}))


def test_odd_definition_of_before_is_refused() -> None:
    """An odd line in what was noted before is an error of the same kind."""
    with pytest.raises(FrameError):
        read_units(frame({"units.definition": "hypervisor.service\n"}))


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_endpoint_cannot_forge_an_answer(mark: str) -> None:
    """A redirect to an address with what Unicode calls a line break stays one answer, and a bad one."""
    forged = f"/x{mark}103.40 live yes 200 0.001 0.002 0 0 - "
    seen = observed(watch__series=f"103.25 live no 302 0.001 0.002 0 - - {forged}\n")
    (answer,) = seen.answers["live"]
    assert (answer.good, answer.code) == (False, 302)
    assert seen.streak(seen.answers.get("live", ()), LIVE).answers == 0


# Which system.


@pytest.mark.parametrize(
    ("revision", "built_from", "commit"),
    [
        (SHA, "", SHA),
        (f"{SHA}\n", "f" * 40, SHA),
        ("", f"{SHA}\n", SHA),
        ("dirty", SHA, SHA),
        (f"{SHA}-dirty", "", None),
        (SHA[:39], "", None),
        ("", "", None),
        (SHA.upper(), "", None),
    ],
)
def test_commit_is_what_the_system_says_else_what_the_host_built(
    revision: str, built_from: str, commit: str | None
) -> None:
    """Only a full commit is one: the system's own word first, then the host's note of what it built."""
    assert observed(system__revision=revision, system__built_from=built_from).system.commit == commit


@pytest.mark.parametrize(("text", "generation"), [("42", 42), ("", None), ("x", None), ("²", None), ("-1", None)])
def test_generation_is_a_number_or_none(text: str, generation: int | None) -> None:
    """A profile without generation has none."""
    assert observed(system__generation=text).system.generation == generation


@pytest.mark.parametrize(
    ("parts", "kernels", "says"),
    [
        ("", "6.12.1 6.12.1", ""),
        ("initrd ", "6.12.1 6.12.1", "A reboot is needed before this system's initrd is in use."),
        (
            "kernel initrd ",
            "6.12.1 6.12.2",
            "A reboot is needed before this system's kernel, initrd is in use (booted: 6.12.1, configured: 6.12.2).",
        ),
    ],
)
def test_kernel_that_waits_for_a_reboot_is_reported(parts: str, kernels: str, says: str) -> None:
    """What the booted system lacks of the running one is said, with both kernels."""
    seen = observed(**{"system.reboot": parts, "system.kernels": kernels})
    assert seen.system.awaits_reboot == says


def test_reboot_ends_a_specialisation() -> None:
    """Its kernel waits for a reboot that leads elsewhere, unless the boot loader is told to start it."""
    parts = {"system.reboot": "kernel", "system.specialisation": "quiet"}
    waits = observed(**parts).system.awaits_reboot
    assert waits.endswith("is in use; it starts the specialisation 'quiet' only if the boot loader is told to.")


@pytest.mark.parametrize(
    ("runs", "wanted", "says"),
    [
        ("", "", None),
        ("quiet", "quiet", None),
        ("quiet", "", "runs the specialisation 'quiet' of its system, and the target file names none"),
        ("", "quiet", "runs the system itself, not the specialisation 'quiet' that the target file names"),
        ("loud", "quiet", "runs the specialisation 'loud', not the specialisation 'quiet' that the target file"),
    ],
)
def test_specialisation_is_the_one_that_is_wanted(runs: str, wanted: str, says: str | None) -> None:
    """The system itself, one of its specialisations and another one are three different things."""
    system = observed(**{"system.specialisation": runs}).system
    assert (says or "") in system.wrong_specialisation(wanted)
    assert bool(says) == bool(system.wrong_specialisation(wanted))
    assert system.identity.specialisation == (runs or None)


def test_host_that_says_nothing_of_its_system_has_none() -> None:
    """What was not said is None in the record, never an empty path."""
    nothing = dict.fromkeys(("running", "boot_id", "generation", "revision", "built_from", "nar_hash"), "")
    identity = observed(**{f"system__{part}": said for part, said in nothing.items()}).system.identity
    assert identity == SystemIdentity(None, None, None, None)


# Units.


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ({}, "active (running)"),
        ({"LoadState": "not-found", "ActiveState": "inactive"}, "not-found"),
        ({"LoadState": "masked"}, "masked"),
        (
            {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainStatus": "1"},
            "failed (failed), result exit-code 1",
        ),
        (
            {"ActiveState": "activating", "SubState": "auto-restart", "Result": "signal", "ExecMainStatus": "9"},
            "activating (auto-restart), result signal 9",
        ),
    ],
)
def test_unit_state_says_what_is_the_trouble(values: dict[str, str], state: str) -> None:
    """A unit's state is in systemd's words, with the result if it is no success."""
    assert read_units(frame({"units.show": unit_show("a.service", **values)}))["a.service"].state == state


def test_units_whose_names_begin_alike_are_different() -> None:
    """A unit whose name begins like another's has its own state and definition."""
    names = ["a.service", "a.service.d.service", "a@a.service", "a@.service"]
    shown = "\n".join(unit_show(name, MainPID=str(number)) for number, name in enumerate(names))
    units = read_units(
        frame({"units.show": shown, "units.definition": "".join(f"{name} {name}\n" for name in names)})
    )
    assert [(unit.name, unit.main_pid, unit.definition) for unit in units.values()] == [
        (name, number, name) for number, name in enumerate(names)
    ]


def test_values_of_units_may_hold_equal_signs() -> None:
    """What systemd prints after the first equal sign is the value; a unit without a process has process 0."""
    units = read_units(
        frame({"units.show": "Id=a.timer\nDropInPaths=/x=y /z\nActiveState=active\nSubState=a=b\n\n\n"})
    )
    assert (units["a.timer"].sub, units["a.timer"].main_pid, units["a.timer"].restarts) == ("a=b", 0, 0)


# Answers and what lasts.


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ("", Streak(0, 0.0, False)),
        (answers("hypervisor", (100.25, "yes")), Streak(0, 0.0, False)),
        (bad(100.25), Streak(0, 0.0, False)),
        (good(100.25), Streak(1, 3.25, True)),
        (good(100.25, 101.25, 102.25) + bad(103.25), Streak(0, 0.0, False)),
        (bad(100.25) + good(101.25, 102.25), Streak(2, 2.25, True)),
        (good(100.25, 101.25) + bad(102.25) + good(103.25), Streak(1, 0.25, True)),
        (good(100.25) + answers("dev", (101.25, "no")) + good(102.25), Streak(2, 3.25, True)),
        (answers("liver", (100.25, "yes"), (101.25, "yes")), Streak(0, 0.0, False)),
        (answers("live", (100.25, "Yes")), Streak(0, 0.0, False)),
    ],
)
def test_streak_is_the_last_good_run(series: str, expected: Streak) -> None:
    """Only this endpoint's good answers after its last bad one count, and the time since the first of them."""
    assert streak(series) == expected


ALL = good(100.25, 101.25, 102.25, 103.25)
LATE = bad(100.25, 101.25) + good(102.25, 103.25)


@pytest.mark.parametrize("unit", ["vm", "socat"])
@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("active running 999 bbbb 0", False),
        ("active running 420 zzzz 0", False),
        ("active running 420 bbbb 1", False),
        ("activating start 420 bbbb 0", False),
        ("failed failed 0 - 3", False),
    ],
)
def test_any_change_of_identity_is_another_process(unit: str, state: str, kept: bool) -> None:
    """Another process, invocation or count of restarts, or a unit no longer active, is seen; of either unit."""
    row = {"vm": "active running 420 bbbb 0", "socat": "active running 420 bbbb 0"}
    assert streak(ALL, presence(100.25, **row)).identity_kept
    assert streak(ALL, presence(100.25, **row) + presence(102.25, **row | {unit: state})).identity_kept is kept


NEW = RUNNING | {"vm": "active running 999 eeee 0"}


@pytest.mark.parametrize(
    ("series", "units", "kept"),
    [
        (LATE, presence(100.25, **RUNNING) + presence(101.25, **NEW), True),
        (LATE, presence(100.25, **RUNNING) + presence(102.25, **NEW), True),
        (LATE, presence(100.25, **RUNNING) + presence(101.25, **NEW) + presence(103.25, **RUNNING), False),
        (LATE, presence(100.25, **RUNNING) + presence(102.26, **NEW), False),
        (LATE, presence(100.25, **RUNNING) + presence(103.25, **NEW), False),
        (ALL, presence(100.25, **RUNNING) + presence(101.25, **NEW) + presence(102.25, **RUNNING), False),
        (good(100.25) + bad(101.25) + good(102.25), presence(100.25, **RUNNING) + presence(101.25, **NEW), False),
        (
            ALL,
            presence(100.25, **RUNNING) + presence(102.25, hypervisor="active running 411 ffff 1", vm=NEW["vm"]),
            False,
        ),
        (ALL, presence(100.25, **RUNNING | {"hypervisor": "failed failed 0 - 9"}), True),
        (
            ALL,
            presence(100.25, **RUNNING) + presence(101.25, **RUNNING | {"hypervisor": "active running 1 x 1"}),
            True,
        ),
        (ALL, presence(100.25, vm=RUNNING["vm"]), False),
        (ALL, presence(100.25, **RUNNING) + presence(101.25, vm=RUNNING["vm"]), False),
        (ALL, presence(101.25, **RUNNING), True),
        (ALL, presence(100.0, **RUNNING) + presence(100.25, **RUNNING | {"vm": NEW["vm"]}), False),
        (ALL, "at 100.25\n", False),
        (ALL, "", False),
    ],
)
def test_identity_must_last_from_the_first_good_answer(series: str, units: str, kept: bool) -> None:
    """A restart before the first good answer is none; from then on, one restart or unseen unit is too many."""
    assert streak(series, units).identity_kept is kept


@given(st.integers(0, 9_999_999), st.integers(0, 500), st.integers(0, 90_000))
def test_soak_that_lasted_is_not_lost_to_rounding(began: int, first: int, soak: int) -> None:
    """A soak of just the asked length is that long, whatever hundredth of a second the host's clock stood at."""
    at, ended = began + first, began + first + soak
    seen = observed(
        watch__began=f"{began / 100:.2f}", watch__series=good(at / 100), watch__ended=f"{ended / 100:.2f}"
    )
    assert seen.streak(seen.answers.get("live", ()), LIVE).seconds == pytest.approx(soak / 100, abs=1e-9)
    assert seen.streak(seen.answers.get("live", ()), LIVE).seconds >= soak / 100


def test_restarts_are_told_with_their_time() -> None:
    """Each change of the asked units is told once, with what was and what came."""
    units = (
        presence(100.25, **RUNNING)
        + presence(101.25, **NEW)
        + presence(102.25, **NEW | {"hypervisor": "failed failed 0 - 1"})
    )
    seen = observed(watch__units=units)
    assert seen.restarts(LIVE) == [
        f"+1.2 s {LIVE[0]}: active (running), pid 420, 0 restarts → active (running), pid 999, 0 restarts"
    ]
    assert len(seen.restarts((HYPERVISOR, *LIVE))) == 2


@pytest.mark.parametrize(
    ("settled", "healthy"),
    [("", False), ("live healthy", True), ("live healthy\nhypervisor restarted", False), ("live unhealthy", False)],
)
def test_host_is_healthy_if_every_endpoint_is(settled: str, healthy: bool) -> None:
    """One endpoint that did not settle well, or none at all, is not healthy."""
    assert observed(watch__settled=settled).healthy is healthy


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("200 0.001 0.0123 0 - - ", "HTTP 200 in 12 ms"),
        ("302 0.001 0.0123 0 - - http://x/y z", "HTTP 302 → http://x/y z in 12 ms"),
        ("000 0 0.1 7 - - Failed to connect", "connection refused or no route (Failed to connect)"),
        ("000 0 0.1 28 - - ", "no answer in time"),
        ("000 0 0.1 99 - - odd", "curl exit code 99 (odd)"),
        ("000 0 0.1 ? - - odd", "curl exit code -1 (odd)"),
        ("000 0 0 0 - - ", "curl exit code 0"),
    ],
)
def test_answer_says_what_curl_saw(words: str, said: str) -> None:
    """An answer reads as a sentence, a missing one says why."""
    assert str(observed(watch__series=f"100.25 live no {words}\n").answers["live"][0]) == said


# Who listens.


@pytest.mark.parametrize(
    ("address", "listen", "hears"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080", True),
        ("0.0.0.0:8080", "127.0.0.1:8080", True),
        ("*:8080", "127.0.0.1:8080", True),
        ("127.0.0.1%lo:8080", "127.0.0.1:8080", True),
        ("*%lo:8080", "127.0.0.1:8080", True),
        ("0.0.0.0%lo:8080", "127.0.0.1:8080", True),
        ("*:8080", "[::1]:8080", True),
        ("[::]:8080", "[::1]:8080", True),
        ("[::1]:8080", "[::1]:8080", True),
        ("[fe80::1]%eth0:8080", "[fe80::1]:8080", True),
        ("[::]:8080", "127.0.0.1:8080", False),
        ("[::1]:8080", "127.0.0.1:8080", False),
        ("0.0.0.0:8080", "[::1]:8080", False),
        ("127.0.0.1:8080", "[::1]:8080", False),
        ("127.0.0.2:8080", "127.0.0.1:8080", False),
        ("10.0.0.1:8080", "127.0.0.1:8080", False),
        ("127.0.0.1:18080", "127.0.0.1:8080", False),
        ("127.0.0.1:808", "127.0.0.1:8080", False),
        ("127.0.0.1:80801", "127.0.0.1:8080", False),
        ("1127.0.0.1:8080", "127.0.0.1:8080", False),
        ("0.0.0.0%eth0:8080", "127.0.0.1:8080", False),
        ("*%eth0:8080", "127.0.0.1:8080", False),
        ("127.0.0.53%lo:53", "127.0.0.1:53", False),
        ("0.0.0.0:8081", "127.0.0.1:8080", False),
        ("127.0.0.1:8080", "0.0.0.0:8080", False),
        ("127.0.0.1", "127.0.0.1:8080", False),
        ("", "127.0.0.1:8080", False),
    ],
)
def test_listener_hears_what_reaches_it(address: str, listen: str, hears: bool) -> None:
    """A socket counts for an address exactly if a connection to that address reaches it."""
    assert Listener(address, 1, "x.service").hears(listen) is hears


def test_strays_are_store_paths() -> None:
    """Of what stands after a process only store paths are strays."""
    old = "/nix/store/0q1w2e3r4t5y6u7i8o9p0a1s2d3f4g5h-old"
    seen = observed(processes=f"a.service 7 ? {old} {old}-2 \nb.service 8 /usr/bin/x \n")
    assert seen.processes == (
        Process("a.service", 7, "?", (old, f"{old}-2")),
        Process("b.service", 8, "/usr/bin/x", ()),
    )


def test_failed_units_are_names() -> None:
    """Failed units are read by name, in the host's order."""
    assert observed(units__failed="b.service\na\\x2db.mount\n").failed == ("b.service", "a\\x2db.mount")


def test_observation_cannot_be_changed() -> None:
    """What was seen stays what was seen."""
    with pytest.raises(AttributeError, match="immutable"):
        observed().clock = 0.0  # type: ignore[misc]


@pytest.mark.parametrize("row", ["live", "live system", "live  "])
def test_a_program_s_row_that_is_cut_short_is_no_program(row: str) -> None:
    """A row says where a program comes from and which file it is; half of one is damage, or no origin."""
    if row.count(" ") < 2:
        with pytest.raises(FrameError):
            observed(programs=row)
    else:
        assert observed(programs=row).programs["live"] == Program("", "")


def test_path_of_a_program_may_have_blanks() -> None:
    """Only the endpoint and the origin are words."""
    assert read_observation(frame({"programs": "live other /opt/a b c\n"})).programs == {
        "live": Program("/opt/a b c", "other")
    }


def test_lives_of_a_unit_are_its_invocations() -> None:
    """A moment without one is none, and a unit that was never seen had none."""
    units = (
        presence(100.25, **RUNNING)
        + presence(101.0, **RUNNING | {"vm": "inactive dead 0 - 0"})
        + presence(102.0, **RUNNING | {"vm": "active running 421 eeee 1"})
    )
    seen = read_observation(frame({"watch.units": units}))
    assert [seen.lives(unit) for unit in (*LIVE, "other.service")] == [2, 1, 0]


def test_time_of_a_moment_is_the_first_number_of_its_line() -> None:
    """What stands behind it moves no restart to another time."""
    units = presence(100.25, **RUNNING).replace("at 100.25", "at 100.25 999")
    assert read_observation(frame({"watch.units": units})).presences[0][0] == pytest.approx(0.25)
