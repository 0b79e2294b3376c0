"""Places where things run: one folder for each adapter of the Target port. None imports another."""
