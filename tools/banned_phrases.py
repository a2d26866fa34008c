"""`python -m tools.banned_phrases [FILE ...]`: find phrases in prose that do not read as plain English.

It checks the tracked files, or the given ones: Markdown; comments and docstrings of Python; comments and descriptions
of YAML; the cells of notebooks; the text of pages; comments and texts of JavaScript; makefiles. Text in backticks is
code and is not checked, nor is a line that contains "plain-english: ok". The list is `banned_phrases.txt`. Each hit is
printed as `file:line: phrase -> suggestion`; the exit status is 1 when there is one.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_suffix(".txt")
# A frozen copy of the state machine's definition, whose words stay as they were.
FROZEN = {ROOT / "tests" / "contract" / "old_run" / "label_drive.asl.yaml"}
ESCAPE = "plain-english: ok"
_RULE = re.compile(r"(?P<phrase>.+?) -> (?P<suggestion>.+?)(?: \(except: (?P<exceptions>.+)\))?")
_DESCRIPTION = re.compile(r"(?P<indent>\s*)(?:- )?(?:\w*Description|Comment): ?(?P<text>.*)")
_CELL_LINE = re.compile(r'\s*"(.*?)(?:\\n)?",?')
_YAML_COMMENT = re.compile(r"(?:^|\s)#\s?(.*)")


class Rule(NamedTuple):
    """A banned phrase with its suggestion, and the longer texts in which it may stay."""

    phrase: str
    suggestion: str
    exceptions: tuple[str, ...] = ()


class Hit(NamedTuple):
    """A banned phrase in a text; `line` counts from 1."""

    line: int
    rule: Rule


def read_rules(text: str) -> list[Rule]:
    """Read the list of phrases. Raises ValueError with the line that is not a rule."""
    rules = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        found = _RULE.fullmatch(line)
        if not found:
            raise ValueError(f"not a rule: {line!r}; write: phrase -> suggestion (except: text, text)")
        exceptions = (found["exceptions"] or "").split(", ")
        rules.append(Rule(found["phrase"], found["suggestion"], tuple(filter(None, exceptions))))
    return rules


def find_phrases(lines: Sequence[str], rules: Sequence[Rule]) -> list[Hit]:
    """Find banned phrases in lines of prose, also those that a line break divides, in order of lines."""
    text = "\n".join(lines)
    hits = []
    for rule in rules:
        allowed = [found.span() for exception in rule.exceptions for found in _pattern(exception).finditer(text)]
        for found in _pattern(rule.phrase).finditer(text):
            if not any(start <= found.start() and found.end() <= end for start, end in allowed):
                hits.append(Hit(text.count("\n", 0, found.start()) + 1, rule))
    return sorted(hits, key=lambda hit: hit.line)


@cache
def _pattern(phrase: str) -> re.Pattern[str]:
    """Match the phrase as whole words; a space also matches one line break, but never an empty line."""
    words = r"(?:[ \t]+|[ \t]*\n[ \t]*)".join(map(re.escape, phrase.split()))
    return re.compile(rf"(?<![\w-]){words}(?![\w-])", re.IGNORECASE)


def prose(path: Path, text: str) -> list[str]:
    """Keep the prose of a file: one string for each of its lines, empty for code and for lines with the escape."""
    lines = text.splitlines()
    kept = _READERS[path.suffix or path.name](lines)
    return ["" if ESCAPE in line else one for one, line in zip(kept, lines, strict=True)]


def _without_code(line: str) -> str:
    return re.sub(r"`[^`]*`", lambda code: "`" * len(code[0]), line)


def _of_python(lines: Sequence[str]) -> list[str]:
    text = "\n".join(lines) + "\n"
    kept = [""] * len(lines)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                kept[number - 1] = _without_code(lines[number - 1].strip().strip('"'))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            kept[token.start[0] - 1] = _without_code(token.string.lstrip("# "))
    return kept


def _of_yaml(lines: Sequence[str]) -> list[str]:
    kept, folded = [], -1
    for line in lines:
        indent = len(line) - len(line.lstrip())
        described, comment = _DESCRIPTION.fullmatch(line), _YAML_COMMENT.search(line)
        if described:
            # A value that begins with > or | goes on in the lines that are indented more.
            folded = len(described["indent"])
            kept.append(_without_code(described["text"]))
        elif line.strip() and indent > folded >= 0:
            kept.append(_without_code(line.strip()))
        else:
            folded = folded if not line.strip() else -1
            kept.append(_without_code(comment[1]) if comment else "")
    return kept


def _of_markdown(lines: Sequence[str]) -> list[str]:
    kept, fenced = [], False
    for line in lines:
        fence = line.lstrip().startswith("```")
        kept.append("" if fence or fenced else _without_code(line.strip()))
        fenced = fenced != fence
    return kept


def _of_page(lines: Sequence[str]) -> list[str]:
    return [re.sub(r"<[^>]*>|\{\{.*?\}\}|\{%.*?%\}", " ", line).strip() for line in lines]


def _of_javascript(lines: Sequence[str]) -> list[str]:
    """Keep comments, and the texts in double quotes that have several words, which users see."""
    kept = []
    for line in lines:
        comment = re.search(r"(?:^|\s)(?://|/?\*+)\s?(.*)", line)
        texts = [text for text in re.findall(r'"([^"]*)"', line) if re.search(r"\S \S", text)]
        kept.append(_without_code(comment[1]) if comment else " ".join(texts))
    return kept


def _of_makefile(lines: Sequence[str]) -> list[str]:
    return [line.lstrip("# \t") for line in lines]


def _of_notebook(lines: Sequence[str]) -> list[str]:
    """Keep the lines of all cells: each is a string of JSON."""
    return [_without_code(found[1]) if (found := _CELL_LINE.fullmatch(line)) else "" for line in lines]


# By a file's ending, or by its name if it has none.
_READERS = {
    ".py": _of_python,
    ".yaml": _of_yaml,
    ".yml": _of_yaml,
    ".md": _of_markdown,
    ".ipynb": _of_notebook,
    ".html": _of_page,
    ".jinja": _of_page,
    ".js": _of_javascript,
    ".mjs": _of_javascript,
    "Makefile": _of_makefile,
}


def tracked_files() -> list[Path]:
    """List the files that git tracks in this checkout."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    return [path for path in paths if path.is_file() and path not in FROZEN]


def check(files: Sequence[Path], rules: Sequence[Rule]) -> Iterator[str]:
    """Report the banned phrases in the prose of files."""
    for path in files:
        if (path.suffix or path.name) not in _READERS:
            continue
        for hit in find_phrases(prose(path, path.read_text()), rules):
            shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            yield f"{shown}:{hit.line}: {hit.rule.phrase} -> {hit.rule.suggestion}"


def main(names: Sequence[str]) -> int:
    """Print every hit; return the exit status."""
    hits = list(check([Path(name).resolve() for name in names] or tracked_files(), read_rules(LIST.read_text())))
    for hit in hits:
        print(hit)
    return 1 if hits else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
