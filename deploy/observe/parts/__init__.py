"""The parts of an observation: each as a type, with the function that reads it from a frame."""
