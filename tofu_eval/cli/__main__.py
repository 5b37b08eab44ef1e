"""`python -m tofu_eval.cli`."""

from tofu_eval.cli import main

main(prog_name="tofu-eval")
