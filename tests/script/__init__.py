"""The fragments of the host's script, each by its own tests, without a host."""
