"""Tasks: named, versioned sets of prompts, one YAML file or one Python function each."""

from tofu_eval.tasks.base import TASKS
from tofu_eval.tasks.formats import Format, converse, format_of, load_format, render, render_turns
from tofu_eval.tasks.loader import check_registered, check_task, load_task, with_data
from tofu_eval.tasks.python_task import task
from tofu_eval.tasks.suite import SUITES, add_suite, load_suite

__all__ = [
    "SUITES",
    "TASKS",
    "Format",
    "add_suite",
    "check_registered",
    "check_task",
    "converse",
    "format_of",
    "load_format",
    "load_suite",
    "load_task",
    "render",
    "render_turns",
    "task",
    "with_data",
]
