"""The audit of the cutover from one provider to another."""
