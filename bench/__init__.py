"""What the project is measured with, beside what others use."""
