"""A run directory: its tables, its manifest, what is read from it and whether it is whole."""
