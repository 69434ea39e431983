"""`pilot serve`: the embedded job server."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pilot.server.credentials import Credentials
    from pilot.server.faults import Rule

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_WAIT = click.FloatRange(0, min_open=True)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(name="serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
@click.option(
    "--db",
    default="jobserver.db",
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The sqlite file that holds the jobs.",
)
@click.option(
    "--dialect", default="both", show_default=True, type=click.Choice(["classic", "v1", "both"]), help="What to speak."
)
@click.option("--durable", is_flag=True, help="Survive a power cut too: one fsync for each group of requests.")
@click.option("--cache", type=_FOLDER, help="A folder whose files are served under /cache/.")
@click.option("--tls-cert", type=_FILE, help="Speak TLS with this certificate (PEM).")
@click.option("--tls-key", type=_FILE, help="Its key, if it is not in the same file.")
@click.option(
    "--client-ca",
    type=click.Path(exists=True, path_type=Path),
    help="Clients may show certificates or proxies under this CA (file or folder).",
)
@click.option("--token-file", type=_FILE, help="Who may call and what they get: tokens, DNs, proxies, keys (JSON).")
@click.option("--sent-limit", default=1800.0, show_default=True, help="Silence of a dispatched job until it fails, s.")
@click.option("--heartbeat-limit", default=7200.0, show_default=True, help="Silence of a running job until it fails.")
@click.option("--adder-delay", default=0.0, show_default=True, help="Wait in holding before a report is judged, s.")
@click.option("--end-with-stdin", is_flag=True, help="End when stdin closes: for programs that start a server.")
@click.option("--faults", default="[]", help="Fault rules as JSON, or @FILE; see docs/server.md.")
def command(**given: Any) -> None:
    """Serve jobs to pilots until SIGTERM or SIGINT.

    Prints one line of JSON with the server's "url" once it answers; the log goes to stderr.
    """
    from pilot.server.limits import Limits
    from pilot.server.refusal import Unusable
    from pilot.server.run import Options, serve

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if (given["tls_key"] or given["client_ca"]) and not given["tls_cert"]:
        raise click.BadParameter("needs --tls-cert", param_hint="--tls-key" if given["tls_key"] else "--client-ca")
    limits = Limits(
        sent_s=given.pop("sent_limit"),
        heartbeat_s=given.pop("heartbeat_limit"),
        adder_delay_s=given.pop("adder_delay"),
    )
    faults, credentials = _rules(given.pop("faults")), _credentials(given.pop("token_file"))
    options = Options(limits=limits, faults=faults, credentials=credentials, **given)
    try:
        serve(options, lambda url: click.echo(json.dumps({"url": url})))
    except Unusable as error:
        raise click.BadParameter(str(error), param_hint=error.option) from error


def _rules(text: str) -> tuple[Rule, ...]:
    from pilot.server.faults import rules

    try:
        return tuple(rules(Path(text[1:]).read_bytes() if text.startswith("@") else text))
    except (OSError, ValueError) as error:
        raise click.BadParameter(str(error), param_hint="--faults") from error


def _credentials(path: Path | None) -> Credentials | None:
    from pilot.server.credentials import read

    try:
        return None if path is None else read(path)
    except (OSError, ValueError) as error:
        raise click.BadParameter(str(error), param_hint="--token-file") from error
