"""Decoding methods that need no training: one method, one file; `base.py` says what one is."""
