"""A log that some quiz program writes, and tables for Org mode."""
