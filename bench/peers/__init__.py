"""Checks for the peers of an audit benchmark."""
