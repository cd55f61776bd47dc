"""Nothing secret leaves a session, wherever it was planted."""
