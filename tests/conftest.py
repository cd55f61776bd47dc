"""What all tests share: a test that tries many inputs waits for its result, however busy the machine is."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("busy", deadline=None)
settings.load_profile("busy")
