"""What every table of a target file is like (pure)."""

import msgspec


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the target file; a key that it does not know is an error."""
