"""Audits how far the cutover from one provider to another is."""
