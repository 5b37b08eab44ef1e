"""Responses that exist already, read from files: one file a format, told apart by fields."""

from tofu_eval.importers.base import IMPORTERS, Answer, Importer, Record, RowError, importer

__all__ = ["IMPORTERS", "Answer", "Importer", "Record", "RowError", "importer"]
