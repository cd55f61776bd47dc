"""Every fault that is tried, by every mode of a session, and what came of it: docs/faults.md."""
