"""`pilot command`: tells a job of the embedded server to end, or its pilot to look at it."""

from __future__ import annotations

import difflib
import json
from typing import Any

import click

from pilot.cli.jobserver import post, server_options
from pilot.core.commands import PROGRAMS, WORDS

#: What the server has an endpoint for; everything else is left for the job's pilot as a command.
_ACTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "kill": ("kill", {}),
    "tobekilled": ("kill", {}),
    "softkill": ("softkill", {}),
    "debug": ("debug", {"on": True}),
    "debugoff": ("debug", {"on": False}),
}


@click.command(name="command", context_settings={"ignore_unknown_options": True})
@click.argument("job", type=click.IntRange(min=1))
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED)
@server_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(job: int, words: tuple[str, ...], url: str, as_json: bool, **credentials: Any) -> None:
    """Give an order to JOB (a PandaID) at the embedded server; its pilot gets it with the next answer.

    \b
    kill       end it (at once if no pilot has it yet)
    softkill   take no more events, finish with what is there
    debug      send the end of the active log with each heartbeat, now more often
    debugoff   no more of that
    nocleanup  keep its directory
    tail FILE, ls, du, ps, gdb --pid %
               run this in the job's directory, send what it prints
    """
    line = " ".join(words)
    if (first := words[0]) not in (*_ACTIONS, *WORDS, *PROGRAMS):
        near = difflib.get_close_matches(first, [*_ACTIONS, *WORDS, *PROGRAMS], 1, cutoff=0.4)
        raise click.UsageError(f"there is no order {first!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    action, body = _ACTIONS.get(line, ("command", {"command": line}))
    answer = post(url, f"jobs/{job}/{action}", body, click.UsageError, **credentials)
    click.echo(json.dumps(answer) if as_json else f"{job}  {line}: {answer.get('state', 'noted')}")
