"""Every way to a host, tried on real hosts."""
