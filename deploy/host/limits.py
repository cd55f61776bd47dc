"""Limits on one host's output, evidence and log, so that no host exhausts the run's resources.

A longer text is cut or refused, with a message.
"""

from __future__ import annotations

OUTPUT = 48 * 2**20
"""Bytes that a program on a host may print in one answer."""
PAYLOAD = 32 * 2**20
"""Bytes of one unpacked answer; diagnostics of twenty failed units need a tenth."""
PACKED = 8 * 2**20
"""Bytes of one packed answer through SSM."""
ANSWERS = 8
"""Frames in one answer; a command that was delivered twice may be answered twice."""
PARTS = 10_000
"""Parts of one answer."""

LOG = 32 * 2**20
"""Bytes of a job's log that are kept from its beginning."""
LOG_END = 2**20
"""Bytes of a longer log that are kept from its end."""
LINES = 100_000
"""Lines of a log that are shown while the job runs."""
LINE = 4096
"""Characters of a line that are shown."""
PAUSE_S = 0.5
"""Seconds between two questions for a log without news."""

WAY_BACK_S = 600.0
"""Least seconds for a host's rollback, however short `converge.timeout_s` is; host-switch.sh has the same value."""

FILES = 2000
"""Files of evidence of one host."""
FILE = 8 * 2**20
"""Characters of one file; a longer text is cut in the middle."""
EVIDENCE = 128 * 2**20
"""Characters of all files of one host."""

RECEIVED = 2**30
"""Bytes of all answers of one host in one run; after that it is not asked any more."""
KEPT = 256 * 2**20
"""Bytes of events, evidence and log lines that are kept or shown of one host in one run.

After that, verdicts stay and texts are cut."""
CUT = 1000
"""Characters of a text in an event after `KEPT` is used up."""
CUT_ITEMS = 200
"""Items of a list in such an event."""
