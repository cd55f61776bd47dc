"""Readers of the languages in which deploy paths are written: CI files, justfiles, Makefiles, shell, Python."""
