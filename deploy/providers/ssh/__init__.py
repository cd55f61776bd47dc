"""The provider that reaches hosts over SSH, as OpenSSH's client would with the same files."""
