"""What a run prints to the terminal: its progress, and the summary at its end."""
