"""The local SSM endpoint, proved with clients that nobody here wrote."""
