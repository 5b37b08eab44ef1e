"""The log of a quiz program: a question a row, with all that was answered."""

from __future__ import annotations

from collections.abc import Iterator

from tofu_eval.importers.base import Answer, File, Record, RowError, importer


@importer("quiz-log", title="Quiz log", fields=("quiz_question", "quiz_answers"))
def read_quiz_log(file: File) -> Iterator[Record]:
    """Fields: quiz_question, a text; quiz_answers, a list of texts."""
    for row in file.rows():
        if not isinstance(row["quiz_answers"], list):
            raise RowError("expected 'quiz_answers' to be a list")
        answers = [Answer(text=str(answer)) for answer in row["quiz_answers"]]
        yield Record(prompt=row["quiz_question"], responses=answers)
