"""Logs in to a host and becomes root there: keys, the agent, passwords and sudo."""
