"""The host's side of a deploy and the talk with it; what is marked `lab` is tried on real hosts."""
