"""A trial of a deploy path on this machine and a lab host: prepare, run the path, observe."""
