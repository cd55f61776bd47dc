"""What a session does with the signals and the standard streams of its process."""
