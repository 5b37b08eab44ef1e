"""A run as one page to look at, and its charts one by one."""

from tofu_eval.report.charts import CHARTS
from tofu_eval.report.contents import Beyond, Contents, read
from tofu_eval.report.drawing import FORMATS, draw
from tofu_eval.report.page import write_page

__all__ = ["CHARTS", "FORMATS", "Beyond", "Contents", "draw", "read", "write_page"]
