"""From the record of a run to everything that a person or a program reads about it."""
