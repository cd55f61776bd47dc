"""The provider that reaches hosts over SSH, as OpenSSH's client does with the same files."""
