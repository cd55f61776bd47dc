"""Programs that matter for a deploy: what a call of each one runs, and what it changes."""
