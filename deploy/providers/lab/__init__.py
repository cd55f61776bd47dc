"""The lab: real NixOS-like hosts on this machine, for a first deploy, for tests and for faults."""
