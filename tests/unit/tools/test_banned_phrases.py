"""Prose is checked for phrases that do not read as plain English, and code is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.banned_phrases import LIST, Rule, check, find_phrases, main, prose, read_rules

NO = Rule("is no", "is not a", ("there is no", "is no longer"))


def lines_with_hits(name: str, *lines: str) -> list[int]:
    return [hit.line for hit in find_phrases(prose(Path(name), "\n".join(lines)), [NO])]


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("A key that is no frame's.", [1]),
        ("This IS NO frame.", [1]),
        ("the server is\nno frame server", [1]),
        ("There is no frame. It is no longer there.", []),
        ("There is no frame, and it is no frame.", [1]),
        ("analysis no. 7, this is nothing, is-no, is no-op", []),
        ("ends with is\n\nno begins another paragraph", []),
    ],
)
def test_whole_words_are_found_across_one_line_break(text: str, hits: list[int]) -> None:
    assert [hit.line for hit in find_phrases(text.split("\n"), [NO])] == hits


def test_comments_and_docstrings_of_python_are_checked() -> None:
    code = [
        '"""A frame is no key."""',
        'x = "is no"',
        "y = 1  # is no",
        "def f():",
        '    """One.',
        "    is no",
        '    """',
    ]
    assert lines_with_hits("a.py", *code) == [1, 3, 6]


def test_comments_and_descriptions_of_yaml_are_checked() -> None:
    text = ["# is no", "Description: is no", "Value: is no", "AlarmDescription: >-", "  it is", "  no", "Name: is no"]
    assert lines_with_hits("a.yaml", *text) == [1, 2, 5]


def test_markdown_is_checked_outside_code() -> None:
    assert lines_with_hits("a.md", "is no", "`is no`", "```", "is no", "```", "is no") == [1, 6]


def test_texts_of_pages_and_scripts_are_checked() -> None:
    assert lines_with_hits("a.html", '<p class="is no">This is no</p>') == [1]
    assert lines_with_hits("a.js", "// is no", 'say("this is no");', 'a["is"] = " no"; is no', " * is no") == [1, 2, 4]
    assert lines_with_hits("Makefile", "\t@echo is no", "# is no") == [1, 2]


def test_a_line_with_the_escape_is_not_checked() -> None:
    assert lines_with_hits("a.py", "x = 1  # is no (plain-english: ok)") == []


def test_a_hit_names_file_line_phrase_and_suggestion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.md").write_text("one\nit is no\n")
    (tmp_path / "a.png").write_bytes(b"\xff is no")
    assert list(check([tmp_path / "a.md", tmp_path / "a.png"], [NO])) == [f"{tmp_path}/a.md:2: is no -> is not a"]
    assert main([str(tmp_path / "a.md")]) == 1
    assert "a.md:2: is no -> " in capsys.readouterr().out
    (tmp_path / "a.md").write_text("plain\n")
    assert main([str(tmp_path / "a.md")]) == 0


def test_the_list_is_readable_and_names_no_phrase_twice() -> None:
    rules = read_rules(LIST.read_text())
    assert NO.phrase in [rule.phrase for rule in rules]
    assert len({rule.phrase for rule in rules}) == len(rules)
    with pytest.raises(ValueError, match="not a rule: 'is no'"):
        read_rules("is no")
