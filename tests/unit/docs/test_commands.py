"""The commands of the documents: the real parser takes each of them, and all targets of make exist."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest

from autolabel_cli.__main__ import main

PROJECT = Path(__file__).parents[3]
# The changelog also names commands as they were.
PAGES = sorted(
    page
    for page in [*PROJECT.glob("*.md"), PROJECT / "local/README.md", *PROJECT.glob("docs/**/*.md")]
    if page.name != "CHANGELOG.md"
)
BLOCK = re.compile(r"^ *```.*?\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^ *((?:\.venv/bin/)?autolabel|make|\.venv/bin/python -m) (.+)$", re.MULTILINE)
# A command that a sentence names: it may leave out what it does not speak of.
MENTION = re.compile(r"`(?:\.venv/bin/)?(autolabel|make) ([a-z][^`]*)`")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def _commands() -> list[tuple[str, str]]:
    """The lines of all blocks that begin with a program, as (program, rest); continuation lines are joined."""
    blocks = [block for page in PAGES for block in BLOCK.findall(page.read_text())]
    found = {found for block in blocks for found in COMMAND.findall(re.sub(r"\\\n\s*", "", block))}
    return sorted((program.split("/")[-1], rest) for program, rest in found)


def _mentions() -> list[tuple[str, str]]:
    prose = [BLOCK.sub("", page.read_text()) for page in PAGES]
    return sorted({(program, " ".join(rest.split())) for text in prose for program, rest in MENTION.findall(text)})


COMMANDS, MENTIONS = _commands(), _mentions()


def of(commands: list[tuple[str, str]], wanted: str) -> list[str]:
    return [rest for program, rest in commands if program == wanted]


def words_of(given: str) -> list[str]:
    """A command line as the shell splits it, with a word for each <placeholder>."""
    return shlex.split(re.sub(r"<[^>]*>", "placeholder", given), comments=True)


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the first words name, and the other words. Raises click.UsageError for an unknown one."""
    command: click.Command = main
    while isinstance(command, click.Group) and words:
        _, found, words = command.resolve_command(click.Context(command), words)
        assert found
        command = found
    return command, words


def options_of(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def parse(given: str) -> click.Context:
    """Have the parser take a command line without running it."""
    command, words = command_of(words_of(given))
    return command.make_context(command.name, words)


@pytest.fixture
def every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each path exist: the files of examples are the reader's."""
    monkeypatch.setattr(click.Path, "convert", lambda _type, value, _parameter, _context: Path(value))


@pytest.mark.usefixtures("every_path")
@pytest.mark.parametrize("given", of(COMMANDS, "autolabel"))
def test_the_parser_takes_each_command_of_a_block(given: str) -> None:
    parse(given)


@pytest.mark.parametrize("given", ["lst", "list --waitin", "fetch 2026-11-22-a", "capacity --drives many", "stop a b"])
def test_the_parser_refuses_commands_that_are_wrong(given: str) -> None:
    with pytest.raises(click.UsageError):
        parse(given)


@pytest.mark.parametrize("given", of(MENTIONS, "autolabel") + of(COMMANDS, "autolabel"))
def test_commands_that_a_page_mentions_have_the_named_options(given: str) -> None:
    command, _ = command_of(words_of(given.split(" | ")[0]))
    # The comment behind a command names more of its options.
    assert set(OPTION.findall(given)) <= options_of(command), given


@pytest.mark.parametrize("given", of(MENTIONS, "make") + of(COMMANDS, "make"))
def test_the_targets_and_settings_of_make_exist(given: str) -> None:
    makefile = (PROJECT / "Makefile").read_text()
    for word in words_of(given.replace("[", "").replace("]", "")):
        setting, is_setting, _ = word.partition("=")
        if is_setting:
            assert re.search(rf"\b{setting}\b", makefile), word
        else:
            assert re.search(rf"^{word}:", makefile, re.MULTILINE), word


@pytest.mark.parametrize("given", of(COMMANDS, "python -m"))
def test_the_modules_that_a_page_runs_exist(given: str) -> None:
    assert importlib.util.find_spec(given.split()[0]), given


def test_commands_are_found_in_the_pages() -> None:
    counts = {program: len(of(COMMANDS, program)) for program in ("autolabel", "make", "python -m")}
    assert counts["autolabel"] > 40, counts
    assert counts["make"] > 5, counts
    assert counts["python -m"] > 0, counts
    assert len(MENTIONS) > 40
