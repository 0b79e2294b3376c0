"""`trimtab serve`: the server in the foreground, until it is told to end."""

from __future__ import annotations

import click

from trimtab.cli.session import render_options
from trimtab.core.model.rendering import RenderSettings


@click.command()
@click.option("--repository", metavar="URL|PATH|hosted:NAME", required=True, help="The configuration repository to follow.")
@click.option(
    "--data",
    metavar="DIR",
    required=True,
    envvar="TRIMTAB_DATA",
    show_envvar=True,
    help="Where everything is kept; made when it is missing.",
)
@click.option(
    "--listen",
    metavar="ADDRESS:PORT|unix:PATH",
    default="",
    help="Where the API listens: a loopback address or a unix socket. Default: a free port of 127.0.0.1.",
)
@click.option(
    "--reachable",
    is_flag=True,
    help="Let --listen name an address that others can reach. In a container, behind what ends TLS.",
)
@click.option(
    "--installation",
    metavar="NAME",
    default="",
    envvar="TRIMTAB_INSTALLATION",
    show_envvar=True,
    help="Who the objects belong to, for a new data directory. Default: a name of chance.",
)
@click.option(
    "--poll-seconds",
    type=click.FloatRange(0.1, 86400),
    default=60.0,
    show_default=True,
    help="How often the repository is looked at without a wake.",
)
@render_options
@click.option(
    "--checker",
    "checkers",
    metavar="NAME=COMMAND",
    multiple=True,
    help="A program that judges Changes, for Policies that name it. May be repeated.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How the log on the standard error is written.",
)
@click.option(
    "--public-url",
    metavar="URL",
    default="",
    help="The address that people reach the server by, through a proxy that ends TLS. Its host name is answered to.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    metavar="NAME",
    multiple=True,
    help="Another host name that is answered to. May be repeated.",
)
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    metavar="ADDRESS",
    multiple=True,
    help="An address or network whose X-Forwarded-For is believed. May be repeated.",
)
def serve(
    repository: str,
    data: str,
    listen: str,
    reachable: bool,
    installation: str,
    poll_seconds: float,
    log_format: str,
    public_url: str,
    allowed_hosts: tuple[str, ...],
    trusted_proxies: tuple[str, ...],
    helm: str,
    plugin: tuple[str, ...],
    plugin_network: tuple[str, ...],
    checkers: tuple[str, ...],
) -> int:
    """Run the server: follow a repository and make this host as it says. Prints `trimtab ready URL` when it serves.

    It ends on SIGTERM or Ctrl-C; what it runs goes on running, and `trimtab down` ends that too.

    \b
    Example:
      trimtab serve --repository ~/shop --data ~/.local/state/trimtab
    """
    from trimtab.wiring import serve as run

    return run(
        repository=repository,
        data=data,
        listen=listen,
        reachable=reachable,
        installation=installation,
        poll_seconds=poll_seconds,
        log_format=log_format,
        public_url=public_url,
        allowed_hosts=allowed_hosts,
        trusted_proxies=trusted_proxies,
        rendering=RenderSettings(helm, plugin, plugin_network),
        checkers=checkers,
    )
