"""The page that explains a saved basis to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def basis_card(basis: Mapping[str, Any]) -> str:
    """Markdown from the description of a basis: what it is, how good it is, what it holds of each task."""
    settings = ", ".join(f"{k}={v}" for k, v in basis["parameters"].items()) or "none"
    condition = "infinite" if basis["condition"] is None else f"{basis['condition']:.3g}"
    pairs = zip(basis["sources"], basis["row_sums"], strict=True)
    rows = "\n".join(f"| {name} | {total:.4f} |" for name, total in pairs)
    return f"""# Task vector basis: {basis["method"]}, M = {basis["M"]} of T = {basis["T"]}

| | |
|---|---|
| method | {basis["method"]} ({settings}) |
| content | {_content(basis)} |
| loss | {basis["loss"]:.6g} |
| spectral bound | {basis["spectral_bound"]:.6g} ({_excess(basis)}) |
| relative error | {basis["relative_error"]:.4f} |
| condition number of the atoms | {condition} |

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


def _excess(basis: Mapping[str, Any]) -> str:
    if basis["attainable"]:
        return "reached"
    bound = basis["spectral_bound"]
    return f"{basis['loss'] / bound - 1:.2e} above it" if bound else "not reached"
