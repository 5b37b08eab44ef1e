"""What the scripts of arXiv:2408.16673 score: the chat template filled with prompt and answer."""

from __future__ import annotations

LLAMA = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
    "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n{prompt}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{answer}<|eot_id|>"
)
"""What the chat template of Llama 3.1 makes of a prompt and an answer."""
