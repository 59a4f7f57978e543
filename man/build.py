"""Writes the man pages from the commands' own declarations, so that the two cannot drift.

Run `python man/build.py` to write them, `python man/build.py --check` to fail when one is stale.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

FOLDER = Path(__file__).resolve().parent
COMMANDS = ("fetch", "spec", "augment", "factor", "embed", "train", "eval", "tag")
SUMMARIES = {
    "fetch": "find audio and labels",
    "spec": "compute time-frequency features of tracks",
    "augment": "make more examples of the same tracks",
    "factor": "make learning targets out of labels and features, and explain them",
    "embed": "turn tracks or features into embeddings",
    "train": "train a model of one or many tasks",
    "eval": "evaluate predictions and embeddings, check tables for leaks",
    "tag": "tag tracks with a model",
}
INPUT_OUTPUT = """\
Inputs are files, folders or \\- for standard input, which is also read when no input is named and
standard input is not a terminal. It may hold a table (Parquet, Arrow, NPZ), JSON lines, or plain
paths, one a line or NUL-separated (\\-0); the first bytes decide. CSV needs \\-\\-from csv.
.PP
Into a pipe goes an Arrow stream that ends with a mark; the next command knows by it that nothing
was lost. Into \\-o FILE goes what its ending says, and the file appears whole or not at all. A
regular file on standard output gets Parquet, a terminal a short readable table.
mt\\-tag and mt\\-eval end a chain: off a terminal they write JSON lines."""
EXITS = [
    ("0", "all done"),
    ("1", "failed; also: the command before this one in the pipe died"),
    ("2", "usage: an option or an input does not fit"),
    ("3", "done, but rows failed: each is on standard error and in \\-\\-errors FILE"),
    ("4", "a check or a \\-\\-require did not hold"),
    ("5", "the input had no rows"),
]
VARIABLES = [
    ("MT_TOOLS_CACHE", "folder of fetched weights, instead of the user's cache folder"),
    ("MT_TOOLS_MIRROR", "folder or address to fetch weights from, instead of their public one"),
]


def escaped(text: str) -> str:
    """Return text for roff: dashes, backslashes and leading dots are safe."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    # Old roff reads Latin alone: other letters are named by their code point.
    text = "".join(c if ord(c) < 128 else f"\\[u{ord(c):04X}]" for c in text)
    return "\n".join("\\&" + line if line[:1] in ".'" else line for line in text.split("\n"))


def paragraphs(text: str) -> str:
    """Return plain paragraphs as roff."""
    parts = [" ".join(part.split()) for part in text.split("\n\n")]
    return "\n.PP\n".join(escaped(part) for part in parts)


def option(parameter: inspect.Parameter) -> tuple[str, str]:
    """Return the panel and the entry of one option or argument."""
    annotation, info = get_args(parameter.annotation)
    text = escaped((info.help or "").replace("\\[", "["))
    if isinstance(info, typer.models.ArgumentInfo):
        return "Arguments", f".TP\n.I {escaped(info.metavar or parameter.name.upper())}\n{text}"
    # Inside Annotated, typer keeps the first declared flag where a default would stand.
    declared = [info.default, *(info.param_decls or ())]
    flags = [flag for text_ in declared if isinstance(text_, str) for flag in text_.split("/")]
    names = ", ".join(f"\\fB{escaped(flag)}\\fR" for flag in flags)
    if info.show_default and parameter.default not in (None, False):
        text += f" Default: {escaped(str(parameter.default))}."
    plain = get_args(annotation)[0] if type(None) in get_args(annotation) else annotation
    if plain is bool or info.count:
        return info.rich_help_panel or "Options", f".TP\n{names}\n{text}"
    if get_origin(plain) is Literal:
        takes = "|".join(get_args(plain))
    else:
        takes = info.metavar or {int: "N", float: "X"}.get(plain, "TEXT")
    return info.rich_help_panel or "Options", f".TP\n{names} \\fI{escaped(takes)}\\fR\n{text}"


def options(function: Any) -> str:
    """Return the options of a command, by panel."""
    panels: dict[str, list[str]] = {}
    for parameter in inspect.signature(function).parameters.values():
        panel, entry = option(parameter)
        panels.setdefault(panel, []).append(entry)
    return "\n".join(f".SS {panel}\n" + "\n".join(rows) for panel, rows in panels.items())


def arguments(function: Any) -> list[str]:
    """Return the metavars of a command's positional arguments."""
    infos = [get_args(p.annotation)[1] for p in inspect.signature(function).parameters.values()]
    named = zip(inspect.signature(function).parameters, infos, strict=True)
    return [i.metavar or n.upper() for n, i in named if isinstance(i, typer.models.ArgumentInfo)]


def examples(function: Any) -> str:
    """Return the examples of a command."""
    rows = [
        f".PP\n{escaped(what[:1].upper() + what[1:])}:\n.PP\n.nf\n.RS\n{escaped(line)}\n.RE\n.fi"
        for line, what in function.examples
    ]
    return "\n".join(rows)


def page(name: str) -> str:
    """Return the man page of a command."""
    module = importlib.import_module(f"mt_tools.commands.{name}")
    functions = {command.name: command.callback for command in module.app.registered_commands}
    title = f"mt-{name}"
    lines = [
        f'.TH {title.upper()} 1 "" "mt-tools {version("mt-tools")}" "mt-tools"',
        f".SH NAME\n{escaped(title)} \\- {SUMMARIES[name]}",
        ".SH SYNOPSIS",
    ]
    for sub, function in functions.items():
        words = title if sub == title else f"{title} {sub}"
        shown = ["[\\fIOPTIONS\\fR]", *(f"[\\fI{escaped(a)}\\fR...]" for a in arguments(function))]
        lines.append(f".PP\n\\fB{escaped(words)}\\fR {' '.join(shown)}")
    lines.append(".SH DESCRIPTION")
    for sub, function in functions.items():
        if sub != title:
            lines.append(f".SS {escaped(f'{title} {sub}')}")
        lines.append(paragraphs(inspect.getdoc(function) or ""))
        heading, *rows = function.notes.split("\n")
        if heading:
            lines.append(f".PP\n{escaped(heading)}")
        for row in rows:
            term, _, text = row.partition(":")
            lines.append(f".TP\n\\fB{escaped(term.strip())}\\fR\n{escaped(text.strip())}")
    lines.append(f".SH INPUT AND OUTPUT\n{INPUT_OUTPUT}")
    for sub, function in functions.items():
        heading = "OPTIONS" if sub == title else f"OPTIONS OF {sub.upper()}"
        lines.append(f".SH {heading}\n{options(function)}")
    lines.append(".SH EXIT STATUS")
    lines += [f".TP\n.B {code}\n{text}" for code, text in EXITS]
    lines.append(".SH ENVIRONMENT")
    lines += [f".TP\n.B {variable}\n{escaped(text)}" for variable, text in VARIABLES]
    lines.append(".SH EXAMPLES")
    lines += [examples(function) for function in functions.values()]
    others = ", ".join(f"\\fB{escaped(f'mt-{c}')}\\fR(1)" for c in COMMANDS if c != name)
    lines.append(f".SH SEE ALSO\n{others}")
    return "\n".join(lines) + "\n"


def main(words: list[str]) -> int:
    """Write or check all pages; return the exit code."""
    stale = []
    for name in COMMANDS:
        path, text = FOLDER / f"mt-{name}.1", page(name)
        if "--check" in words:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(path.name)
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        print(
            f"stale man pages: {', '.join(stale)}; write them: python man/build.py", file=sys.stderr
        )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
