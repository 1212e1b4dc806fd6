"""The page that explains a saved basis to people."""

from __future__ import annotations

from taskbasis.basis.basis import Basis


def basis_card(basis: Basis, *, dtype: str, numel: int | None) -> str:
    """Markdown: what the basis is, how good it is, and what it holds of each task."""
    d = basis.diagnostics
    bound = (
        "reached"
        if d.attainable
        else f"{d.loss / d.spectral_bound - 1:.2e} above it"
        if d.spectral_bound
        else "–"
    )
    settings = ", ".join(f"{k}={v}" for k, v in basis.parameters.items()) or "none"
    if numel is None:
        content = "matrices alone"
    elif basis.drawn_again:
        content = f"matrices and a seed for vectors of {numel:,} elements"
    else:
        content = f"{basis.stored_vectors} vectors of {numel:,} elements, {dtype}"
    rows = "\n".join(
        f"| {name} | {total:.4f} |" for name, total in zip(basis.sources, d.row_sums, strict=True)
    )
    return f"""# Task vector basis: {basis.method}, M = {basis.M} of T = {len(basis.tasks)}

| | |
|---|---|
| method | {basis.method} ({settings}) |
| content | {content} |
| loss | {d.loss:.6g} |
| spectral bound | {d.spectral_bound:.6g} ({bound}) |
| relative error | {d.relative_error:.4f} |
| condition number of the atoms | {d.condition:.3g} |

The summed atoms hold this much of each source:

| source | row sum of the basis encoder |
|---|---|
{rows}
"""
