"""The base of every table of a target file (pure)."""

import msgspec


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the target file; an unknown key is an error."""
