"""The lab: real NixOS-like hosts made on this machine, for a first deploy, for tests and for trying faults."""
