"""Responses that exist already, read from files."""
