"""`penance-gateway`: all cameras of a site, from one inventory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HELP = """Serve all cameras of a site, each in a process of its own, from one YAML inventory.

A camera that fails is started again by itself, after a wait that doubles up to a minute. The inventory is
read again when it changes, and on SIGHUP: added cameras start, removed ones stop, changed ones start again.
An inventory that is not valid changes nothing. In a terminal there is a live table, anywhere else JSON lines.

[bold]Examples[/bold]

\b
  penance-gateway site.yaml
  penance-gateway site.yaml --check     is it valid, and are its credentials there?

Ctrl-C ends cleanly. Status 0: ended, or valid; 1: the inventory cannot be used.
"""

app = typer.Typer(
    add_completion=False, rich_markup_mode="rich", context_settings={"help_option_names": ["-h", "--help"]}
)


@app.command(help=HELP)
def gateway(
    inventory: Annotated[Path, typer.Argument(help="the site's YAML", show_default=False)],
    check: Annotated[bool, typer.Option("--check", help="only say whether the inventory is valid")] = False,
) -> None:
    from clients.gateway.inventory import InventoryError, check_credentials, load_inventory
    from clients.gateway.site import run_site
    from configs.settings import Settings

    try:
        site = load_inventory(inventory)
        if check:
            check_credentials(site, inventory.parent)
            typer.echo(f"{inventory} is valid: {len(site.cameras)} cameras for {site.server}")
            return
        run_site(inventory, site, Settings().key_file)
    except InventoryError as error:
        typer.echo(f"penance-gateway: {error}", err=True)
        raise typer.Exit(1) from error


def main() -> None:
    """Entry point of `penance-gateway`."""
    app()


if __name__ == "__main__":
    main()
