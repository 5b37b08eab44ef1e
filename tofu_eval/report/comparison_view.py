"""A comparison that shows itself: as text, as a table in a notebook, as a data frame."""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib import resources
from io import StringIO
from typing import TYPE_CHECKING

from tofu_eval.analysis.comparison import Comparison
from tofu_eval.analysis.verdict import Verdict, verdicts_of
from tofu_eval.core.errors import MissingDependencyError
from tofu_eval.core.templates import render_html
from tofu_eval.report.comparison_text import (
    answer_text,
    comparison_records,
    render,
    table,
    table_cells,
    table_header,
)
from tofu_eval.report.formatting import WIDTH
from tofu_eval.report.headline import answer_rows, headline
from tofu_eval.report.warning_text import warning_lines

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, repr=False)
class ComparisonView(Comparison):
    """Models by metrics with their differences to the baseline; what `tofu-eval compare` prints."""

    @classmethod
    def of(cls, comparison: Comparison) -> ComparisonView:
        """The same comparison."""
        return cls(**{field.name: getattr(comparison, field.name) for field in fields(Comparison)})

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """For each model but the baseline on each task, what its differences come to."""
        return verdicts_of(self)

    @property
    def sentence(self) -> str:
        """The answer, to quote."""
        return headline(self)

    def to_text(self, format: str) -> str:
        """As "markdown", "latex", "csv" or "json"."""
        return render(self, format)

    def to_pandas(self) -> pd.DataFrame:
        """A row a task, metric and model: what the CSV has.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise MissingDependencyError.of("to_pandas", "pandas", "pandas") from error
        return pd.DataFrame.from_records(list(comparison_records(self)))

    def __repr__(self) -> str:
        """The table of the terminal."""
        from rich.console import Console

        console = Console(width=WIDTH, file=StringIO(), color_system=None)
        console.print(answer_text(self))
        console.print(table(self))
        text = console.file.getvalue()  # type: ignore[attr-defined]
        return "\n".join(line.rstrip() for line in text.splitlines())

    def _repr_html_(self) -> str:
        """The same for a notebook; whatever others wrote is escaped."""
        template = resources.files(__package__).joinpath("comparison.html").read_text("utf-8")
        return render_html(
            template,
            {
                "baseline": self.baseline,
                "answers": answer_rows(self),
                "sentence": headline(self),
                "warnings": warning_lines(self.warnings, self.baseline),
                "header": table_header(self),
                "rows": [
                    [row.task, row.metric, *cells]
                    for row in self.rows
                    for cells in table_cells(self, row)
                ],
            },
        )
