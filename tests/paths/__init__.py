"""What is found of a repository's deploy paths by reading it."""
