"""What a run prints to the terminal: progress while it goes on, and the summary at its end."""
