"""`pilot serve`: the embedded job server."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import click


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
def command(host: str, port: int, db: Path, dialect: str, durable: bool) -> None:
    """Serve jobs to pilots until SIGTERM or SIGINT.

    Prints one line of JSON with the server's "url" once it answers; the log goes to stderr.
    """
    from pilot.server.refusal import StoreError
    from pilot.server.run import Options, serve

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    options = Options(db=db, host=host, port=port, dialect=dialect, durable=durable)
    try:
        serve(options, lambda url: click.echo(json.dumps({"url": url})))
    except StoreError as error:
        raise click.BadParameter(str(error), param_hint="--db") from error
    except OSError as error:
        raise click.BadParameter(
            f"cannot listen on {host} port {port}: {error.strerror}", param_hint="--port"
        ) from error
