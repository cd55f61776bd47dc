"""One fake host, the way of a host and of a fleet through the phases, and the state that each is left in."""
