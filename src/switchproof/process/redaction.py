"""Redacts what pytest itself writes: its terminal, its reports, its logs and its crashes."""

from __future__ import annotations

import dataclasses
import io
import logging
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, TextIO, cast

import pytest

from switchproof.deploy.redact.redactor import Lines, Redactor, plain
from switchproof.deploy.run.streams import forgiving

_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")

_REFUSED = {
    "usepdb": "--pdb",
    "trace": "--trace",
    "debug": "--debug",
    "pastebin": "--pastebin",
}
"""Options of pytest that show or send text from which no secrets were removed."""


class Redaction:
    """A pytest plugin for as long as a deploy session lasts.

    Args:
        redact: Takes secrets out of text.
    """

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact
        self._streams: dict[TextIO, RedactedStream] = {}
        self._capture: Any = None
        self._plain: dict[str, list[str]] = {}
        """The names of each check that hold no secret, by its id."""

    def install(self, config: pytest.Config) -> None:
        """Redact the terminal and all logging until pytest is unconfigured.

        Raises:
            pytest.UsageError: An option would bypass it.
        """
        for name, option in _REFUSED.items():
            if config.getoption(name, None):
                raise pytest.UsageError(
                    f"{option}: not allowed in a deploy, because it shows text before secrets are removed"
                )
        capture = config.getoption("capture", None)
        if capture != "fd":
            option_given = {"no": "-s (--capture=no)", None: "-p no:capture"}.get(capture, f"--capture={capture}")
            raise pytest.UsageError(
                f"{option_given}: not allowed in a deploy, because the output of checks would bypass the redactor"
            )
        streams = sys.stdout, sys.stderr
        self._streams = {stream: RedactedStream(stream, self._redact) for stream in streams}
        self._put_in_front()
        self._capture = config.pluginmanager.getplugin("capturemanager")
        factory = logging.getLogRecordFactory()
        logging.setLogRecordFactory(_log_record_factory(factory, self._redact))
        # Not put back: what ends the process comes after pytest has cleaned up.
        sys.excepthook = _excepthook(self._redact)
        warnings.formatwarning = _formatwarning(warnings.formatwarning, self._redact)

        def restore() -> None:
            logging.setLogRecordFactory(factory)
            self._drain()
            for stream in self._streams.values():
                stream.finish()
            sys.stdout, sys.stderr = streams

        config.add_cleanup(restore)
        config.pluginmanager.register(self, "switchproof-redaction")

    def _put_in_front(self) -> None:
        """Replace the streams that pytest's capturing restores each time it pauses."""
        sys.stdout = cast("TextIO", self._streams.get(sys.stdout, sys.stdout))
        sys.stderr = cast("TextIO", self._streams.get(sys.stderr, sys.stderr))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Redact what is printed while no check runs."""
        self._put_in_front()
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Redact a report before anyone reads it."""
        self._put_in_front()
        self._clean(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Redact a report before anyone reads it."""
        self._clean(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Redact the properties of the whole session, which pytest keeps for its own JUnit file."""
        for plugin in session.config.pluginmanager.get_plugins():
            properties = getattr(plugin, "global_properties", None)
            if isinstance(properties, list):
                properties[:] = [(self._redact(str(name)), self._redact(str(value))) for name, value in properties]

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr: object) -> None:
        """Redact the traceback of a crash before anyone prints or keeps it, and what was captured until then."""
        redact_in_place(excrepr, self._redact)
        self._drain()

    def _drain(self) -> None:
        """Write, redacted, what pytest captured outside of checks; pytest would write it as it is."""
        if getattr(self._capture, "_global_capturing", None) is None:
            return
        self._capture.suspend_global_capture()
        for captured, stream in zip(self._capture.read_global_capture(), self._streams.values(), strict=True):
            stream.write(f"{captured}\n" if captured and not captured.endswith("\n") else captured)
            stream.flush()

    def _clean(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Redact a report in place; text without a secret is not set again, because each check has three reports."""
        match report.longrepr:
            case None:
                pass
            case str(text):
                report.longrepr = self._redact(text)
            case (path, line, reason):
                report.longrepr = (path, line, self._redact(reason))
            case structured:
                redact_in_place(structured, self._redact)
        report.sections = [(name, self._redact(text)) for name, text in report.sections]
        if isinstance(report, pytest.TestReport):
            report.user_properties = [
                (self._redact(str(name)), self._redact(str(value))) for name, value in report.user_properties
            ]
            self._clean_names(report)
        elif (nodeid := self._redact(report.nodeid)) != report.nodeid:
            report.nodeid = nodeid

    def _clean_names(self, report: pytest.TestReport) -> None:
        """Redact the names of a check, which its three reports share; those without a secret are looked at once."""
        path, number, place = report.location
        given = [place, *report.keywords]
        if self._plain.get(report.nodeid) == given:
            return
        lines = "\n".join((report.nodeid, *given))
        if self._redact(lines) == lines:  # what holds no secret together holds none one by one
            self._plain[report.nodeid] = given
            return
        names = {name: self._redact(name) for name in (report.nodeid, *given)}
        report.nodeid, report.location = names[report.nodeid], (path, number, names[place])
        report.keywords = {names[name]: value for name, value in report.keywords.items()}


def redact_in_place(value: Any, redact: Callable[[str], str]) -> Any:
    """Redact every text within pytest's representation of an exception; return its replacement.

    Lines that belong together are redacted together, as a secret may have several.
    """
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value[:] = redact("\n".join(value)).split("\n") if value else []
    elif isinstance(value, list | tuple):
        fresh = [redact_in_place(item, redact) for item in value]
        return fresh if isinstance(value, list) else tuple(fresh)
    elif dataclasses.is_dataclass(value):
        for name, part in vars(value).items():
            setattr(value, name, redact_in_place(part, redact))
    return value


class RedactedStream(io.TextIOBase):
    """A text stream that redacts whole lines on their way to another one. Safe to use from several threads.

    It never raises for that stream: a closed pipe or a full disk must not stop a deploy. Colours stay
    in lines that hold no secret; other control codes never pass.

    Args:
        stream: Where the lines go.
        redact: Takes secrets out of text.
    """

    def __init__(self, stream: TextIO, redact: Redactor) -> None:
        super().__init__()
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a line is written once, whatever the encoding lacks
        self._stream = stream
        self._lines = Lines(redact)
        self._line = ""
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        """Accept text; an unfinished line is held back."""
        with self._lock:
            lines, end, self._line = (self._line + text).rpartition("\n")
            if end:
                self._pass(lines + end)
        return len(text)

    def finish(self) -> None:
        """Write the unfinished line that was held back."""
        with self._lock:
            line, self._line = self._line, ""
            self._pass(line, last=True)
            self.flush()

    def flush(self) -> None:
        """Flush the finished lines."""
        with forgiving(self._stream):
            self._stream.flush()

    def isatty(self) -> bool:
        """Say whether the lines go to a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor of the stream, with which callers ask about the terminal."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream."""
        return self._stream.encoding

    def _pass(self, lines: str, *, last: bool = False) -> None:
        uncoloured = plain(_COLOUR.sub("", lines))
        shown = self._lines(uncoloured, last=last)
        if shown == uncoloured and "\x1b" in lines:
            shown = "".join(part if _COLOUR.fullmatch(part) else plain(part) for part in _COLOUR.split(lines))
        with forgiving(self._stream):
            self._stream.write(shown)


def _log_record_factory(
    make: Callable[..., logging.LogRecord], redact: Callable[[str], str]
) -> Callable[..., logging.LogRecord]:
    """Wrap the factory of log records, so that no handler and no formatter ever has the secret."""

    def redacted(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # logging would print the arguments themselves
            message = f"{record.msg} {record.args}"
        record.msg, record.args = redact(message), None
        if record.exc_info:
            record.exc_text = redact("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
            record.exc_info = None
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return record

    return redacted


def _formatwarning(make: Callable[..., str], redact: Callable[[str], str]) -> Callable[..., str]:
    """Make what turns a warning into text, also one that pytest gives after it has cleaned up."""

    def redacted(*args: Any, **kwargs: Any) -> str:
        return redact(make(*args, **kwargs))

    return redacted


def _excepthook(
    redact: Callable[[str], str],
) -> Callable[[type[BaseException], BaseException, TracebackType | None], None]:
    """Make what prints the traceback of an exception that ends the process."""

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))

    return show
