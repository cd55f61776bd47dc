"""How far the cutover is."""
