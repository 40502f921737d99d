"""The `yoj` command: wires the commands together and turns errors into text and exit codes, in one place."""

from __future__ import annotations

import errno
import functools
import logging
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from io import StringIO
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from yoj_cli.cli.command import SETTINGS, Command
from yoj_cli.cli.messages import complain
from yoj_cli.cli.options import is_debugging
from yoj_cli.errors import ExitCode, UnexpectedError, YojError
from yoj_cli.version import __version__

EXIT_CODES = """\
Exit codes: 0 all scored; 1 some groups failed (--on-error skip); 2 bad usage or input; 3 model or
checkpoint problem; 4 no usable device, out of memory, or no server (--server); 70 a bug in yoj; 130 interrupted."""

COMMANDS = {
    "score": "score:score",
    "rank": "rank:rank",
    "serve": "serve:serve",
    "gather": "gather:gather",
    "train": "train:train",
    "merge": "merge:merge",
    "quantize": "quantize:quantize",
    "bench-speed": "bench_speed:bench_speed",
    "plan-run": "plan_run:plan_run",
    "eval": "eval:evaluate",
    "calibrate": "calibrate:calibrate",
    "votes": "votes:votes",
    "data": "data:data",
    "report": "report:report",
    "info": "info:info",
}
"""Each command, or group of commands, in the order of the help, with its module and function there; only what is
called is imported."""

PATIENCE_S = 2.0

UsageProblem: type[Exception] = typer.BadParameter.__bases__[0]
"""What typer raises for a command line that it cannot read; it has no public name."""


PLAIN_WORDS = {
    "Value error, ": "",
    "Input should be a valid integer, unable to parse string as an integer": "a whole number is wanted",
    "Input should be a valid number, unable to parse string as a number": "a number is wanted",
    "Input should be greater than": "it should be greater than",
}

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""The disk is full or takes no more, wherever that shows: no bug of ours."""


class Commands(TyperGroup):
    """The commands in the order of COMMANDS."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=list(COMMANDS).index)


app = typer.Typer(
    name="yoj",
    cls=Commands,
    help="You only judge once: which of N responses is best, in one forward pass on your own machine.",
    epilog=EXIT_CODES,
    **SETTINGS,
)


def register(names: Iterable[str] = COMMANDS) -> None:
    """Give the app these commands, or groups of commands, each once; their modules are imported now."""
    known = {command.name for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    for name in names:
        if name not in known:
            module, _, attribute = COMMANDS[name].partition(":")
            found = getattr(import_module(f"yoj_cli.cli.{module}"), attribute)
            if isinstance(found, typer.Typer):
                app.add_typer(found, name=name)
            else:
                app.command(name, cls=Command)(found)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"yoj {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """You only judge once: which of N responses is best, in one forward pass on your own machine."""


def main() -> NoReturn:
    """The console script."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # nobody is told what is judged here
    hide_warnings()
    code = _run()  # the command's frames, and with them its generators, are gone after this
    if code == ExitCode.INTERRUPTED:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)  # a second Ctrl-C ends the program on the spot
    _stop_decoding()
    _leave(code)


def hide_warnings() -> None:
    """Keep Python warnings and what libraries log off the screen, from whatever thread; --debug shows them.

    They tell a developer what a library will change, or say what is an error of ours. Filters are left as they are:
    libraries set them too, and `catch_warnings` in one thread puts back those of another.
    """
    show = warnings.showwarning

    @functools.wraps(show)
    def show_when_debugging(*args: Any, **kwargs: Any) -> None:
        if is_debugging():
            show(*args, **kwargs)

    warnings.showwarning = show_when_debugging
    if not is_debugging():
        logging.disable(logging.WARNING)


def _run() -> int:
    try:
        register(sys.argv[1:2] if sys.argv[1:] and sys.argv[1] in COMMANDS else COMMANDS)
        return int(app(prog_name="yoj", standalone_mode=False) or 0)
    except UsageProblem as problem:
        return _show_usage(problem)
    except SystemExit as ended:
        return int(ended.code or 0)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except YojError as error:
        return _report(str(error), error, error.exit_code)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            what = f"{error.filename or 'the output'}: cannot be written ({error.strerror})"
            return _report(what, error, ExitCode.USAGE)
        unexpected = UnexpectedError.of(error)
        return _report(str(unexpected), error, unexpected.exit_code)


def _show_usage(problem: Any) -> int:
    """Typer's own words, where they are for the person and not for the programmer."""
    shown = StringIO()
    problem.show(shown)
    text = shown.getvalue()
    for foreign, plain in PLAIN_WORDS.items():
        text = text.replace(foreign, plain)
    if sys.stderr is not None:
        sys.stderr.write(text)
    return int(problem.exit_code)


def _report(text: str, error: Exception, code: int) -> int:
    if is_debugging():
        traceback.print_exception(error)
    else:
        complain(text)
    return code


def _stop_decoding() -> None:
    """End the clip decoders, so that no thread waits for one when the program wants to end."""
    media = sys.modules.get("yoj_cli.media.load")
    if media is not None:
        media.close()


def _leave(code: int) -> NoReturn:
    """End without waiting for threads that prepare groups nobody will ask for: a download, say."""
    deadline = time.monotonic() + PATIENCE_S
    for thread in threading.enumerate():
        if thread.name.startswith("yoj-prefetch"):
            thread.join(max(deadline - time.monotonic(), 0))
            if thread.is_alive():
                for stream in (sys.stdout, sys.stderr):
                    with suppress(OSError, AttributeError):  # closed
                        stream.flush()
                os._exit(code)
    sys.exit(code)
