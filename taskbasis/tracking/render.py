"""A table of results as rich text, Markdown, LaTeX, CSV or parquet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from taskbasis.errors import ConfigError
from taskbasis.store.atomic import write_bytes, write_text
from taskbasis.tracking.tables import ResultTable, records

_LATEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
_LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}


def rich_table(table: ResultTable) -> Group:
    """For the console; the best of a column is bold."""
    shown = Table()
    for key in table.keys:
        shown.add_column(Text(key), overflow="fold")
    for column in table.columns:
        shown.add_column(Text(column), justify="right", overflow="fold")
    for row in _cells(table, lambda text: text):
        shown.add_row(*(Text(text, style="bold" if best else "") for text, best in row))
    # A title of the table itself would be broken to the width of its columns.
    return Group(*([Text(table.title)] if table.title else []), shown)


def markdown(table: ResultTable) -> str:
    """A table of GitHub's Markdown."""

    def escaped(text: str) -> str:
        return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", text)

    lines = [escaped(table.title), ""] if table.title else []
    lines.append("| " + " | ".join(map(escaped, (*table.keys, *table.columns))) + " |")
    lines.append("|" + "---|" * len(table.keys) + "---:|" * len(table.columns))
    for row in _cells(table, escaped):
        lines.append("| " + " | ".join(f"**{text}**" if best else text for text, best in row) + " |")
    return "\n".join(lines) + "\n"


def latex(table: ResultTable) -> str:
    """A ``tabular`` with rules of the booktabs package."""

    def escaped(text: str) -> str:
        return "".join(_LATEX.get(c, c) for c in text).replace("±", r"$\pm$").replace("α", r"$\alpha$")

    columns = "l" * len(table.keys) + "r" * len(table.columns)
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    if table.title:
        lines.append(rf"\multicolumn{{{len(columns)}}}{{l}}{{{escaped(table.title)}}} \\")
    lines += [" & ".join(map(escaped, (*table.keys, *table.columns))) + r" \\", r"\midrule"]
    for row in _cells(table, escaped):
        lines.append(" & ".join(rf"\textbf{{{text}}}" if best else text for text, best in row) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def comma_separated(table: ResultTable) -> str:
    """One line per cell with full precision: settings, column, metric, mean, std, runs."""
    found = records(table)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, found[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return stream.getvalue()


def parquet(table: ResultTable) -> bytes:
    """The records of :func:`comma_separated` as a parquet file.

    Raises:
        ConfigError: if pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow.parquet import write_table
    except ImportError as error:
        raise ConfigError("parquet needs pyarrow: pip install 'taskbasis[dashboard]'") from error
    numbers = {"mean", "std", "runs"}
    texts = [{k: v if k in numbers or v is None else str(v) for k, v in r.items()} for r in records(table)]
    stream = io.BytesIO()
    write_table(pyarrow.Table.from_pylist(texts), stream)
    return stream.getvalue()


TEXTS: dict[str, Callable[[ResultTable], str]] = {
    "markdown": markdown,
    "latex": latex,
    "csv": comma_separated,
}
SUFFIXES = {".md": "markdown", ".tex": "latex", ".csv": "csv", ".parquet": "parquet"}


def write_table_file(table: ResultTable, path: Path) -> None:
    """Write a table in the format that the file's name ends with.

    Raises:
        ConfigError: for another ending.
        StoreError: if the file cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path}: the name may end with {', '.join(SUFFIXES)}")
    if path.suffix == ".parquet":
        write_bytes(path, parquet(table))
    else:
        write_text(path, TEXTS[SUFFIXES[path.suffix]](table))


def _cells(table: ResultTable, escaped: Callable[[str], str]) -> list[list[tuple[str, bool]]]:
    best = [table.best(i) for i in range(len(table.columns))]
    rows = []
    for number, (name, cells) in enumerate(table.rows):
        row = [(escaped("" if value is None else str(value)), False) for value in name]
        for i, cell in enumerate(cells):
            row.append((escaped(cell.text) if cell else "–", number in best[i]))
        rows.append(row)
    return rows
