"""The options of `pilot transfer` about staging sites."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pilot.staging.sitemap import Route


def routed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options `--staging-site`, `--site` and `--bypass-staging`."""
    for option in (
        click.option(
            "--bypass-staging", is_flag=True, help="inputs come from their sources, from a staging site if they must"
        ),
        click.option("--site", default="", help="this compute site, for --staging-site [the labels of the files]"),
        click.option("--staging-site", default="", help="which staging sites serve which site: site=staging,*=staging"),
    ):
        function = option(function)
    return function


def route_of(options: Mapping[str, Any]) -> Route:
    """What they say. Raises `click.UsageError` naming the bad entry of a map."""
    from pilot.staging.sitemap import Route, parse_map

    try:
        return Route(parse_map(options["staging_site"]), options["site"], options["bypass_staging"])
    except ValueError as error:
        raise click.UsageError(f"--staging-site: {error}") from error
