"""Deploying a revision to NixOS hosts and seeing what came of it."""
