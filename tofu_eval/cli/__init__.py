"""The command line: parse, call, print.

Importing this module costs Click alone; each command's module is imported when it is called.
"""

from __future__ import annotations

import errno
import importlib
import io
import sys
import traceback
from typing import Any, TypeGuard

import click

from tofu_eval.cli.completion import add_names, is_asked
from tofu_eval.cli.heartbeat import heartbeat_of
from tofu_eval.core.blas import load_blas_under_limit
from tofu_eval.core.errors import (
    ConfigError,
    DataError,
    StoreError,
    TofuEvalError,
    is_panic,
    say_error,
)
from tofu_eval.core.escape import cut_middle, printable
from tofu_eval.core.memory import forget_frames, is_out_of_memory, say_shortage
from tofu_eval.core.secrets import strike_secrets
from tofu_eval.core.termination import Terminated, obeying_sigterm
from tofu_eval.core.version import __version__

COMMANDS = {
    "run": "Generate with models on tasks, score and compare.",
    "score": "Score responses that you already have.",
    "rescore": "Add metrics to a run, from the responses that it holds.",
    "train": "Fine-tune a model with any of the losses.",
    "sweep": "Train with several losses and seeds, and compare them.",
    "merge-adapter": "Add an adapter into its base's weights.",
    "compare": "Compare the models of a run with a baseline.",
    "check": "Fail where the evidence says that a model is narrower, or worse: for a pipeline.",
    "frontier": "Quality against diversity: is one model better, or only hotter?",
    "similarity": "How alike the responses of each two models of a run are.",
    "report": "Write a run as one HTML page: the answer, numbers, charts, responses.",
    "plot": "Draw one chart of the report, for a paper.",
    "overused": "Words and phrases that a model uses more than its base, or than people.",
    "split": "Split a loss of diversity: bad responses removed, or good ones more alike.",
    "audit": "Show what prompts become, token by token, and what is wrong with them.",
    "pairs": "Preference data from a run: a rare good response and a common bad one.",
    "runs": "List, show, verify and clean runs.",
    "tasks": "List, show and check tasks.",
    "metrics": "List and show metrics.",
    "importers": "List and show the formats of responses that are read.",
    "engines": "List engines.",
    "methods": "List decoding methods, which need no training.",
    "verifiers": "List what checks answers.",
    "losses": "List and show training losses.",
    "judges": "List what says how good a response is: reward models, rubrics, judges.",
    "calibrate-reward": "Find what a reward model's rewards are worth, from 1 to 10.",
    "leaderboard": "Build, merge, validate, show, publish and export leaderboards.",
    "quickstart": "Train three tiny models and compare them, offline.",
}
"""Each command's module in this package, with the help that the listing shows."""


LONGEST_LINE = 2000
"""Characters of an error; what it quotes may be of any length, and its end says what to do."""


class Failure(click.ClickException):
    """One line on stderr, and exit code 2."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        line = printable(" ".join(strike_secrets(message).split()))
        super().__init__(cut_middle(line, LONGEST_LINE))


class Interrupted(Failure):
    """Ctrl-C: the exit code that shells expect."""

    exit_code = 130


class Ended(Failure):
    """SIGTERM: the exit code that schedulers expect."""

    exit_code = 143


class LazyGroup(click.Group):
    """A group that imports a command when it is called, and turns our errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(
            f"{__name__}.{cmd_name.replace('-', '_')}"
        ).command
        if is_asked():
            add_names(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run; an error of ours is one line and exit code 2."""
        try:
            with obeying_sigterm():
                return super().invoke(ctx)
        except click.UsageError as error:  # it repeats what was typed, on as many lines
            raise click.UsageError(Failure(error.format_message()).message, error.ctx) from error
        except TofuEvalError as error:
            # A reader without memory takes a good file for a damaged one.
            if isinstance(error, ConfigError | DataError | StoreError):
                _refuse_shortage(error.__cause__, error)
            _show_if_debugging(ctx)
            raise Failure(str(error)) from error
        except EOFError as error:  # Click takes it for the user's wish to leave
            _show_if_debugging(ctx)
            raise Failure("A file that was read ends too early. Which: --debug") from error
        except Exception as error:
            _refuse_shortage(error, error)
            if not _is_of_the_system(error):
                raise
            _show_if_debugging(ctx)
            raise Failure(
                f"The system refused: {_say_refusal(error)}. What is finished is kept; mend that, "
                "then run the same command again."
            ) from error
        except KeyboardInterrupt as interrupt:
            raise Interrupted(
                "Interrupted. What is finished is kept; the same command goes on from there."
            ) from interrupt
        except Terminated as ended:
            raise Ended(
                "Terminated. What is finished is kept; the same command goes on from there."
            ) from ended
        except BaseException as error:
            if not is_panic(error):
                raise
            raise Failure(
                f"A library gave up on what it was given: {say_error(error)}. Look at the "
                "tokenizer and the tables that the command reads."
            ) from error


def _show_if_debugging(ctx: click.Context) -> None:
    if ctx.params["debug"]:
        click.echo(strike_secrets(traceback.format_exc()), err=True, nl=False)
        ctx.exit(Failure.exit_code)


def _refuse_shortage(shortage: BaseException | None, error: Exception) -> None:
    """Say in one line that memory ran out, where that is what happened."""
    if shortage is None or not is_out_of_memory(shortage):
        return
    forget_frames(error)
    raise Failure(
        f"Not enough memory: {say_shortage(shortage)}. What is finished is kept; the same command "
        "goes on from there, with more memory or with fewer --workers."
    ) from error


def _is_of_the_system(error: Exception) -> TypeGuard[OSError]:
    """Whether the system refused an operation that no command expects to fail; of a reader that
    went away, as `head` does, Click takes care."""
    return isinstance(error, OSError) and error.errno not in (None, errno.EPIPE)


def _say_refusal(error: OSError) -> str:
    where = "" if error.filename is None else f"{error.filename}: "
    return f"{where}{error.strerror}"


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tofu-eval")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def main(context: click.Context, debug: bool) -> None:
    """Did fine-tuning narrow your language model? By how much, and how sure is that?"""
    # A terminal without Unicode (LC_ALL=C) shows "?" for an arrow; that is no reason to fail.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    load_blas_under_limit()
    context.with_resource(heartbeat_of(str(context.invoked_subcommand)))
