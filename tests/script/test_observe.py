"""What would tell why something failed can be had, and is had."""

from __future__ import annotations

import pytest

from tests.host_functions import run

ENDPOINTS = "live\x1fa.service\x1e@b.service\x1f127.0.0.1:80\x1f@b.service" + "\x1f" * 8


def test_each_source_of_diagnostics_is_tried() -> None:
    """State and journal of every unit, and sockets, count with what they said; a journal that failed does not."""
    text = """
      ask_within() { answered='words of all'; [ -z "${FAILS:-}" ]; }
      sockets='three words here'
      write_to_journal() { nonce=x; }
      comes_back() { return 1; }
      about() { echo "words of $1"; [ "$1" != @b.service ]; }
      take_shown $'Id=a.service\nActiveState=active\n\nId=@b.service\nLoadState=not-found'
      say_diagnosable
      echo "${said[diagnosable]}"
    """
    for fails in ("", "yes"):
        values = {"SWITCHPROOF_ENDPOINTS": ENDPOINTS, "FAILS": fails}
        told = run(text, "answer", "contract", "units", "observe", values=values)
        assert told.splitlines() == [
            "systemctl a.service 31",
            *([] if fails else ["journalctl a.service 13"]),
            "systemctl @b.service 33",
            *([] if fails else ["journalctl @b.service 13"]),
            "ss sockets 16",
        ]


def test_what_systemctl_told_earlier_is_no_state() -> None:
    """Where systemctl was silent at the end of the watch, no unit's state counts as emitted."""
    text = """
      ask_within() { answered=words; }
      write_to_journal() { nonce=x; }
      comes_back() { return 1; }
      take_shown $'Id=a.service\nActiveState=active'
      silent=yes sockets=''
      say_diagnosable
      echo "${said[diagnosable]}"
    """
    told = run(text, "answer", "contract", "units", "observe", values={"SWITCHPROOF_ENDPOINTS": ENDPOINTS})
    assert "systemctl a.service 0" in told.splitlines()


@pytest.mark.parametrize(
    ("since", "told"),
    [("news", "news"), ("", "[nothing since the deploy began; before that:]\nold words")],
)
def test_a_journal_without_news_is_told_by_its_last_words(since: str, told: str) -> None:
    """A unit that said nothing since the deploy began is told by what it said before."""
    text = f"""
      about() {{ case $* in *--since*) printf '%s' '{since}' ;; *) printf 'old words' ;; esac; }}
      journal_since 0 a.service
    """
    assert run(text, "numbers", "files", "observe") == told


@pytest.mark.parametrize(("comes_back", "works"), [("2", True), ("99", False)])
def test_a_journal_works_where_a_line_comes_back_from_it(comes_back: str, works: bool) -> None:
    """The line is written now, and waited for until a deadline: entries of old prove nothing."""
    text = f"""
      turns=0
      uptime_to() {{ printf -v "$1" 0; }}
      gone_by() {{ ((turns > 5)); }}
      sleep() {{ turns=$((turns + 1)); }}
      ask_within() {{
        answered=''
        if [ "$2" = logger ]; then return; fi
        ((turns < {comes_back})) || answered="${{*##*MESSAGE=}}"
      }}
      if journal_works; then echo works; else echo not; fi
    """
    assert run(text, "files", "numbers", "observe") == ("works\n" if works else "not\n")


@pytest.mark.parametrize(("written", "line"), [("yes", "switchproof[7]: n-1"), ("yes", ""), ("", "")])
def test_one_question_to_the_journal_shows_units_and_the_line(written: str, line: str) -> None:
    """The line that was written proves that the journal works, and counts for no unit."""
    text = f"""
      HOST_UNITS=(a.service) journal='' nonce={"n-1" if written else "''"}
      ask_within() {{ shift; echo "$*" >&3; answered=$'a[1]: up\\n{line}'; answered=${{answered%$'\\n'}}; }}
      gone_by() {{ return 0; }}
      exec 3>&1
      if ask_journal; then echo "works $journal"; else echo "not $journal"; fi
    """
    asked, *_, result = run(text, "clock", "numbers", "observe").splitlines()
    assert "_SYSTEMD_UNIT=a.service + _PID=1 UNIT=a.service + SYSLOG_IDENTIFIER=switchproof MESSAGE=" in asked
    assert result == ("works 9" if line else "not 9")
