"""Reads ssh_config files as OpenSSH does, and refuses directives that are not supported."""
