"""What a trial of somebody's deploy path does on this machine and on a lab host: prepare, run the path, look."""
