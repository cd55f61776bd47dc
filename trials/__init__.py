"""Somebody's deploy path on trial: what is tried, what is judged, and what that proves."""
