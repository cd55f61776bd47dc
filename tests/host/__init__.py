"""The host's side of a deploy, tried on real hosts."""
