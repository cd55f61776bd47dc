"""Tests of the plugin and the command."""
