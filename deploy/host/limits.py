"""How much one host may cost a run. What goes over is cut or refused, and said: no host exhausts what others need."""

from __future__ import annotations

OUTPUT = 48 * 2**20
"""Bytes that a program on a host may print in one answer."""
PAYLOAD = 32 * 2**20
"""Bytes of one answer, unpacked. Diagnostics of twenty failed units have a tenth of it."""
PACKED = 8 * 2**20
"""Bytes of one answer that comes through SSM, packed."""
ANSWERS = 8
"""Frames in one answer: a command that was carried twice may be answered twice."""
PARTS = 10_000
"""Parts of one answer."""

LOG = 32 * 2**20
"""Bytes of a job's log that are kept from its beginning."""
LOG_END = 2**20
"""Bytes of it that are kept from its end, where it is longer."""
LINES = 100_000
"""Lines of it that are shown while it is written."""
LINE = 4096
"""Characters of one of them that are shown."""
PAUSE_S = 0.5
"""Seconds between two questions for a log of which nothing new came."""

WAY_BACK_S = 600.0
"""Seconds that a host's way back has at least, however short `converge.timeout_s` is; host-switch.sh says so, too."""

FILES = 2000
"""Files of evidence of one host."""
FILE = 8 * 2**20
"""Characters of one of them; a longer text is cut in the middle."""
EVIDENCE = 128 * 2**20
"""Characters of all of them."""

RECEIVED = 2**30
"""Bytes of all answers of one host in one run; beyond, it is not asked any more."""
KEPT = 256 * 2**20
"""Bytes of all that is kept or shown of one host in one run: events, evidence and lines of its logs.

Beyond, verdicts stay and texts are cut."""
CUT = 1000
"""Characters of a text in an event of a host that has used up `KEPT`."""
CUT_ITEMS = 200
"""Items of a list in such an event."""
