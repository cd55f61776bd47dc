"""The host's side of a deploy: its script, the dialogue with it, and their limits."""
