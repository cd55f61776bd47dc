"""Finished runs in their folder: found, listed, compared, merged, shown and removed."""
