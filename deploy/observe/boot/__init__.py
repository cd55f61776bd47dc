"""Which system a host boots next, computed from what its boot loader reads (pure)."""
