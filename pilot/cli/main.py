"""The command `pilot`: a table of subcommands, each imported only when it is asked for."""

from __future__ import annotations

import errno
import gc
import importlib
import os
import sys

import click

from pilot import __version__
from pilot.core.errors import PilotError
from pilot.core.exitcodes import ExitCode, exit_code_of

#: name -> (module with a click command called `command`, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("pilot.cli.demo", "see real jobs run: server, inputs, pilot and report in one go"),
    "run": ("pilot.cli.run", "the agent: take jobs, run them, report them"),
    "serve": ("pilot.cli.serve", "the embedded job server"),
    "submit": ("pilot.cli.submit", "give job descriptions to the embedded server"),
    "command": ("pilot.cli.command", "kill, debug or look into a job at the embedded server"),
    "transfer": ("pilot.cli.transfer", "the staging tool on its own: move the files of a list"),
    "mkdir": ("pilot.cli.mkdir", "make directories, here or on storages"),
    "cleanup": ("pilot.cli.cleanup", "remove files and directories, here or on storages"),
    "workdir": ("pilot.cli.workdir", "where on this node a work directory would be, and why"),
    "status": ("pilot.cli.status", "what is running now, and what has run"),
    "show": ("pilot.cli.show", "all that is known of one job"),
    "doctor": ("pilot.cli.doctor", "what would go wrong on this node, before jobs are here"),
    "benchmark": ("pilot.cli.benchmark", "how fast this node's cores are"),
    "config": ("pilot.cli.config", "settings and their origins, single values, checks of files"),
    "tail": ("pilot.cli.tail", "the end of the log that a job is writing to"),
}

#: Commands that have closed all they opened when they return: no thread works on, nothing is left for `atexit`.
_LEAVE_NOTHING = frozenset({"transfer", "mkdir", "cleanup"})
#: Such commands look for rings among so many objects at once: what they make is no ring, and mostly lives to their end.
_OBJECTS = 50_000

#: What is wrong with the place a person chose, and no fault of the program: its name is told, and no stack.
_OF_PLACE = {
    errno.EACCES: ExitCode.MKDIR,
    errno.EPERM: ExitCode.MKDIR,
    errno.EROFS: ExitCode.MKDIR,
    errno.EEXIST: ExitCode.MKDIR,
    errno.ENOTDIR: ExitCode.MKDIR,
    errno.ENOSPC: ExitCode.NO_SPACE,
    errno.EDQUOT: ExitCode.NO_SPACE,
}


class Lazy(click.Group):
    """Imports a subcommand's module when the subcommand is called, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            import difflib

            near = difflib.get_close_matches(name, COMMANDS, 1)
            ctx.fail(f"there is no command {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, help) in COMMANDS.items()])


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="pilot")
def cli() -> None:
    """A pilot job agent: takes jobs from a job server, brings their data, runs and watches them, and reports."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exit 2 with one line for a wrong one, protocol.md 6.3 for a failed pilot."""
    leaves_nothing = argv is None and len(sys.argv) > 1 and sys.argv[1] in _LEAVE_NOTHING
    if leaves_nothing:
        gc.set_threshold(_OBJECTS)
    try:
        code = cli.main(args=argv, prog_name="pilot", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(ExitCode.USAGE)
    except click.ClickException as error:
        click.echo(f"pilot: {_one_line(error)}", err=True)
        sys.exit(error.exit_code)
    except PilotError as error:
        click.echo(f"pilot: {error}", err=True)
        sys.exit(exit_code_of(error.code))
    except BrokenPipeError:
        sys.exit(141)
    except OSError as error:
        code = _OF_PLACE.get(error.errno or 0)
        if code is None or error.filename is None:
            sys.exit(_surprised(error))
        click.echo(f"pilot: {os.fsdecode(error.filename)}: {error.strerror}", err=True)
        sys.exit(code)
    except Exception as error:  # noqa: BLE001 - the top of the program: one line for a person, the rest in a file
        sys.exit(_surprised(error))
    code = code if isinstance(code, int) else 0
    if leaves_nothing:
        _leave(code)
    sys.exit(code)


def _leave(code: int) -> None:
    """End at once: to take all modules and objects apart lasts longer than to copy a hundred small files."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError:
        return  # the interpreter tells of it in its own way
    os._exit(code)


def _surprised(error: Exception) -> int:
    from pilot.cli.surprise import unexpected

    told = unexpected(error)
    click.echo(f"pilot: {told.format_message()}", err=True)
    return told.exit_code


def _one_line(error: click.ClickException) -> str:
    text = " ".join(error.format_message().split())
    if isinstance(error, click.NoSuchOption) and not error.possibilities and error.ctx is not None:
        import difflib

        known = [o for p in error.ctx.command.params for o in p.opts if o.startswith("--")]
        near = difflib.get_close_matches(error.option_name, known, 1, cutoff=0.4)
        if near:
            return f"{text.rstrip('.')}; did you mean {near[0]!r}?"
    return text
