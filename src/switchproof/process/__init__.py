"""How a session handles the signals and the standard streams of its process."""
