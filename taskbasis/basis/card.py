"""The page that explains a saved basis to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def basis_card(basis: Mapping[str, Any]) -> str:
    """Markdown from the description of a basis: what it is, how good it is, what it holds of each task."""
    settings = ", ".join(f"{k}={v}" for k, v in basis["parameters"].items()) or "none"
    pairs = zip(basis["sources"], basis["row_sums"], strict=True)
    rows = "\n".join(f"| {name} | {total:.4f} |" for name, total in pairs)
    return f"""# Task vector basis: {basis["method"]}, M = {basis["M"]} of T = {basis["T"]}

| | |
|---|---|
| method | {basis["method"]} ({settings}) |
| content | {_content(basis)} |
| loss | {_number(basis["loss"], ".6g")} |
| spectral bound | {_bound(basis)} |
| relative error | {_number(basis["relative_error"], ".4f")} |
| condition number of the atoms | {_number(basis["condition"], ".3g", "infinite")} |

The summed atoms hold this much of each source:

| source | row sum of the basis encoder |
|---|---|
{rows}
"""


def _content(basis: Mapping[str, Any]) -> str:
    if basis["numel"] is None:
        return "matrices alone"
    if basis["stored_vectors"] == 0:
        return f"matrices and a seed for vectors of {basis['numel']:,} elements"
    return f"{basis['stored_vectors']} vectors of {basis['numel']:,} elements, {basis['dtype']}"


def _number(value: float | None, form: str, otherwise: str = "unknown") -> str:
    return otherwise if value is None else format(value, form)


def _bound(basis: Mapping[str, Any]) -> str:
    bound, loss = basis["spectral_bound"], basis["loss"]
    if bound is None or loss is None:
        return "unknown"
    if basis["attainable"]:
        return f"{bound:.6g} (reached)"
    return f"{bound:.6g} ({f'the loss is {loss / bound - 1:.2e} above it' if bound else 'not reached'})"
