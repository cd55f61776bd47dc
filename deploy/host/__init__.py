"""What runs on a host, and what is said between it and a run."""
