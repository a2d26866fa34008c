"""Completion of names in the shell: those of the deployed stack, or nothing when it cannot be asked quickly."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import boto3
import click
import msgspec
from botocore.config import Config
from click.shell_completion import CompletionItem

from autolabel.models import CATALOGUE_KEY, CatalogueIndex
from autolabel_cli.options import DEFAULT_STACK
from autolabel_cli.stack import Stack

# A longer list does not help, and a further page of the listing takes time.
_MOST = 500
# A person waits at the prompt.
_QUICK = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1})


def complete_drives(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a drive that has objects."""
    # An upload's folder is one entry of the listing, with any number of frames.
    found = _ask(ctx, lambda stack: stack.ingest.folders(f"drives/{incomplete}"))
    return [CompletionItem(incomplete + rest) for rest in found]


def complete_sources(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a drive, or the path of a file when no drive begins like this."""
    # Bash forgets the other suggestions when one of them stands for files.
    return complete_drives(ctx, param, incomplete) or [CompletionItem(incomplete, type="file")]


def complete_models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a model of the catalogue."""
    found = _ask(ctx, _models)
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def _models(stack: Stack) -> Iterable[str]:
    body = stack.labels.read(CATALOGUE_KEY)
    return sorted(msgspec.json.decode(body, type=CatalogueIndex).models) if body else ()


def _ask(ctx: click.Context, names: Callable[[Stack], Iterable[str]]) -> list[str]:
    try:
        stack = Stack.find(ctx.params.get("stack_name") or DEFAULT_STACK, _client)
        return list(itertools.islice(names(stack), _MOST))
    except Exception:
        # Without a stack, keys or permissions there is nothing to suggest. A message would spoil the line being typed.
        return []


def _client(service: str) -> Any:
    return boto3.client(service, config=_QUICK)
