"""Shows the verbs' parameters as Python's: the type, and as its description the help of the option it also is."""

from __future__ import annotations

import ast
import re
from typing import Any

import griffe


class OptionHelp(griffe.Extension):
    """Takes `Annotated[type, Option(help="...")]` apart."""

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Called by mkdocstrings for every function it finds in the source."""
        described = []
        for parameter in func.parameters:
            annotation = parameter.annotation
            if isinstance(annotation, griffe.ExprSubscript) and str(annotation.left) == "Annotated":
                inner, *marks = annotation.slice.elements  # type: ignore[union-attr]
                parameter.annotation = inner
                described += [f"    {parameter.name}: {text}" for mark in marks if (text := _help(mark))]
        if described and func.docstring is not None and "\nArgs:" not in func.docstring.value:
            summary, *sections = re.split(r"\n(?=Returns:|Raises:)", func.docstring.value)
            func.docstring.value = "\n".join([summary, "Args:", *described, "", *sections])


def _help(mark: Any) -> str:
    if not isinstance(mark, griffe.ExprCall):
        return ""
    texts = [a.value for a in mark.arguments if isinstance(a, griffe.ExprKeyword) and a.name == "help"]
    return str(ast.literal_eval(str(texts[0]))) if texts else ""
