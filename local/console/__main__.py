"""`python -m local.console`: the console of the account and Region that boto3 finds, until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
from contextlib import suppress

import boto3

from local.console.server import CloudConsole


def main() -> None:
    """Serve the console and print its address."""
    parser = argparse.ArgumentParser(prog="python -m local.console", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    with CloudConsole(boto3.Session().client, port=parser.parse_args().port) as console:
        print(console.url, flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
