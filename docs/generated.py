"""Writes the tables of the site that the code knows best, each time it is built: commands, and findings of check."""

from __future__ import annotations

import importlib
import pkgutil
from itertools import groupby
from typing import Any

import typer

from bombo import checks, cli
from bombo.checks.finding import SEVERITIES, Defect


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for every page."""
    for mark, made in (("<!-- every command -->", commands), ("<!-- every finding -->", findings)):
        if mark in markdown:
            markdown = markdown.replace(mark, made())
    return markdown


def findings() -> str:
    """What `bombo check` looks for, by severity."""
    modules = [importlib.import_module(f"bombo.checks.{info.name}") for info in pkgutil.iter_modules(checks.__path__)]
    known = {value.code: value for module in modules for value in vars(module).values() if isinstance(value, Defect)}
    rows = sorted(known.values(), key=lambda defect: (SEVERITIES.index(defect.severity), defect.code))
    lines = [
        f"| {defect.severity} | `{defect.code}` | {_cell(defect.many)} | {_cell(defect.fix)} | {_command_of(defect)} |"
        for defect in rows
    ]
    return "\n".join(["| severity | code | found | fix | command |", "|---|---|---|---|---|", *lines])


def _command_of(defect: Defect) -> str:
    return next((f"`{flag}`" for flag in ("--repair", "--out") if flag in defect.command), "")


def commands() -> str:
    """All commands as Markdown: what they do, their arguments and options, with the defaults."""
    known: dict[str, Any] = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    return "\n\n".join(_section(name, command) for name, command in known.items())


def _section(name: str, command: Any) -> str:
    shown = [p for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
    arguments = [p for p in shown if p.param_type_name == "argument"]
    usage = " ".join(["bombo", name, *(_argument(p) for p in arguments), "[OPTIONS]"])
    parts = [f"## bombo {name}", str(command.help or ""), f"```text\n{usage}\n```"]
    if arguments:
        parts.append(_table("argument", [(f"`{p.name.upper()}`", p) for p in arguments]))
    options = [p for p in shown if p not in arguments]
    panels = sorted({_panel(p): None for p in options}, key=[_panel(p) for p in options].index)
    for panel, members in groupby(sorted(options, key=lambda p: panels.index(_panel(p))), key=_panel):
        title = panel or "option"
        parts.append(_table(title, [(" ".join(f"`{flag}`" for flag in p.opts), p) for p in members]))
    return "\n\n".join([*parts, str(command.epilog or "")])


def _panel(parameter: Any) -> str:
    panel = getattr(parameter, "rich_help_panel", None)
    return panel if isinstance(panel, str) else ""


def _argument(parameter: Any) -> str:
    word = parameter.name.upper() + ("..." if parameter.nargs == -1 else "")
    return word if parameter.required else f"[{word}]"


def _table(title: str, rows: list[tuple[str, Any]]) -> str:
    lines = [f"| {title} | meaning | default |", "|---|---|---|"]
    for name, parameter in rows:
        lines.append(f"| {name}{_choices(parameter)} | {_cell(parameter.help)} | {_default(parameter)} |")
    return "\n".join(lines)


def _choices(parameter: Any) -> str:
    words = str(parameter.display_type_rich(None)).strip("<>").split("|")
    return "<br>" + ", ".join(f"`{word}`" for word in words) if len(words) > 1 else ""


def _default(parameter: Any) -> str:
    value = parameter.default
    if parameter.required:
        return "needed"
    return "" if value is None or value is False or callable(value) else f"`{value}`"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|").replace("\n", " ")
