"""What a check says: kinds of defect, where each was met, and both gathered into findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Severity = Literal["error", "warning", "note"]
Value = int | tuple[int, ...]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
REPAIR = "bombo convert {data} {fixed} --to {to} --repair"
LIST_ALL = "bombo check {data} --out check.json"


@dataclass(frozen=True)
class Defect:
    """A kind of defect; it is declared beside the code that looks for it.

    Args:
        code: Short name for machines, such as `box-outside`.
        severity: An error stops training or teaches something wrong; a warning probably does harm; a note is good to
            know.
        one: What is said of one case, after the number: `box lies outside its image`.
        many: The same of several.
        fix: What to decide or to change, and what the command does about it.
        command: What to type, with `{data}`, `{fixed}` (a folder to make) and `{to}` (its format) in it; empty where no
            command can mend it.
    """

    code: str
    severity: Severity
    one: str
    many: str
    fix: str
    command: str = ""


@dataclass(frozen=True)
class Hit:
    """One place where a defect was met.

    Args:
        defect: Its kind.
        where: File, and line or id in it.
        detail: What was found there.
        fix: What to do about it, where the place decides that.
        values: Values or colours of a mask file that lack a name.
    """

    defect: Defect
    where: str
    detail: str = ""
    fix: str = ""
    values: tuple[Value, ...] = ()

    def __str__(self) -> str:
        return f"{self.where}: {self.detail}" if self.detail else self.where


class Repaired(NamedTuple):
    """What was done about a hit.

    Attributes:
        hit: What was wrong.
        left_out: Whether the box was left out; otherwise it was mended.
    """

    hit: Hit
    left_out: bool


@dataclass(frozen=True)
class Finding:
    """All hits of one kind that share a remedy.

    Args:
        severity: `error`, `warning` or `note`.
        code: Short name of the defect.
        message: What was found, with its number.
        count: How often.
        examples: Every place, as `file: detail`.
        fix: What to decide or to change, and what the command does about it.
        command: What to type; empty where no command can mend it.
    """

    severity: Severity
    code: str
    message: str
    count: int
    examples: tuple[str, ...]
    fix: str
    command: str

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "count": self.count,
            "examples": list(self.examples),
            "fix": self.fix,
            "command": self.command,
        }


def gather(hits: Iterable[Hit], words: Mapping[str, str], legible: Callable[[str], str] = str) -> list[Finding]:
    """Groups hits into findings, errors first; a place that is met twice (in train and in val) counts once.

    Args:
        hits: What was met.
        words: What commands name: `data`, `fixed` and `to`, quoted for a shell.
        legible: Shortens the paths in what is said.
    """
    groups: dict[tuple[Defect, str], list[Hit]] = {}
    for hit in dict.fromkeys(hits):
        groups.setdefault((hit.defect, hit.fix), []).append(hit)
    findings = []
    for (defect, fix), group in groups.items():
        message = f"{len(group):,} {defect.one if len(group) == 1 else defect.many}"
        examples = tuple(legible(str(hit)) for hit in group)
        command = defect.command.format(**words)
        findings.append(
            Finding(defect.severity, defect.code, message, len(group), examples, legible(fix or defect.fix), command)
        )
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
