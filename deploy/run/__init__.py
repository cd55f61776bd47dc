"""The order of things in a run: all hosts, one host's journey, and the state that a host is left in."""
