"""`python -m tools.prove [--small] [--world TEXT]`: explore worlds; exit status 1 when a promise is broken."""

from __future__ import annotations

import sys

import click

from tools.prove.search import explore
from tools.prove.worlds import LARGE, WORLDS


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--small", is_flag=True, help="Leave out the large worlds: minutes and some gigabytes each.")
@click.option("--world", "text", default="", help="Explore only worlds whose name contains this text.")
def main(small: bool, text: str) -> None:
    """Visit every state of small worlds and check the completion protocol's promises in each.

    A violation is printed with the shortest schedule that leads to it; tools/prove/__init__.py says how to read one.
    """
    worlds = {name: world for name, world in (WORLDS if small else WORLDS | LARGE).items() if text in name}
    if not worlds:
        raise click.BadParameter(f"no world's name contains {text!r}; the names are in tools/prove/worlds.py")
    broken = 0
    for name, world in worlds.items():
        explored = explore(world)
        print(f"{name:62} {explored.figures()}", flush=True)
        if objection := explored.objection(world):
            broken += 1
            print(objection, flush=True)
    print(f"{len(worlds)} worlds, {broken} not proven")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
