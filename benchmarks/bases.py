"""Basis methods against each other: excess over the spectral bound and seconds per fit.

    python benchmarks/bases.py [--out benchmarks/results/bases.json]

Three tables, one thread: forty Gram matrices (benchmarks/grams.py) with the paper's Adam as the baseline,
one matrix of 200 tasks, and a sweep of all methods over all M and five seeds at T = 20. Seconds are
processor seconds; the ratio is against Adam in the same run.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from grams import cases, factor_vectors, gram_of
from threadpoolctl import threadpool_limits

from taskbasis.basis import PCA, Autoencoder, BasisMethod, Exact, Identity, RandomSample, fit_all
from taskbasis.store.store import versions
from taskbasis.vectors import Gram


def fit(method: BasisMethod, gram: Gram) -> dict[str, float]:
    """Excess over the bound (relative, after 1e-12 of the mean squared norm) and processor seconds."""
    start = time.process_time()
    d = method.fit(gram).diagnostics
    seconds = time.process_time() - start
    slack = 1e-12 * float(gram.matrix.diagonal().sum()) / len(gram.names) ** 2
    excess = (
        max(d.loss - d.spectral_bound - slack, 0.0) / d.spectral_bound if d.spectral_bound > slack else 0.0
    )
    return {"loss": d.loss, "excess": excess, "seconds": round(seconds, 4), "condition": d.condition}


def forty() -> list[dict[str, Any]]:
    """Every Gram matrix of the list with Adam, lbfgs and the closed form."""
    rows = []
    for name, gram, M in cases():
        row: dict[str, Any] = {"gram": name, "M": M}
        row["adam"] = fit(Autoencoder(M=M, solver="adam"), gram)
        row["ae"] = fit(Autoencoder(M=M), gram)
        row["exact"] = fit(Exact(M=M), gram)
        rows.append(row)
        print(
            f"{name:32s} M={M:<3d}"
            + "".join(
                f" {k} {row[k]['excess']:.1e} {row[k]['seconds']:.2f}s " for k in ("adam", "ae", "exact")
            )
        )
    return rows


def many_tasks(T: int = 200) -> dict[str, Any]:
    """One Gram matrix of many tasks."""
    gram = gram_of(factor_vectors(T, seed=0))
    return {"T": T, "M": T // 2, "ae": fit(Autoencoder(M=T // 2), gram), "exact": fit(Exact(M=T // 2), gram)}


def sweep(T: int = 20, seeds: int = 5) -> dict[str, Any]:
    """All methods but ``random`` over all M and seeds, on one Gram matrix."""
    gram = gram_of(factor_vectors(T, seed=0))
    methods: list[BasisMethod] = [Identity()]
    for seed in range(seeds):
        for M in range(1, T + 1):
            methods += [Autoencoder(M=M, seed=seed), Exact(M=M), RandomSample(M=M, seed=seed)]
            methods += [PCA(M=M, center=False)] + ([PCA(M=M)] if M < T else [])
    start, cpu = time.perf_counter(), time.process_time()
    fit_all(gram, methods)
    return {
        "fits": len(methods),
        "wall": round(time.perf_counter() - start, 2),
        "cpu": round(time.process_time() - cpu, 2),
    }


def storage(T: int = 14, M: int = 7) -> dict[str, dict[str, float]]:
    """Excess over the bound when atoms are rounded to two bytes and the decoder is not: vectors of 20,000."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(20000, 1, generator=generator)
    V = (0.02 * (0.5 * shared + torch.randn(20000, T, generator=generator))).double()
    gram = gram_of(V)
    costs: dict[str, dict[str, float]] = {}
    for name, method in (("ae", Autoencoder(M=M)), ("exact", Exact(M=M)), ("pca", PCA(M=M))):
        basis = method.fit(gram)
        mean = 0.0 if basis.offset is None else V @ basis.offset[:, None]
        costs[name] = {}
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            atoms = (V @ basis.encoder).to(dtype).double()
            loss = float((atoms @ basis.decoder + mean - V).square().sum()) / T**2
            costs[name][str(dtype).removeprefix("torch.")] = loss / basis.diagnostics.loss - 1
    return costs


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/bases.json"))
    options = parser.parse_args()
    logging.getLogger("taskbasis").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
        rows = forty()
        worse = [r["gram"] for r in rows for m in ("ae", "exact") if r[m]["excess"] > r["adam"]["excess"]]
        ratio = {
            m: statistics.median(r["adam"]["seconds"] / r[m]["seconds"] for r in rows)
            for m in ("ae", "exact")
        }
        slowest = {m: max(r[m]["seconds"] for r in rows) for m in ("adam", "ae", "exact")}
        result = {
            "forty": rows,
            "worse_than_adam": worse,
            "median_times_faster_than_adam": {m: round(r, 1) for m, r in ratio.items()},
            "slowest_seconds": slowest,
            "many_tasks": many_tasks(),
            "sweep": sweep(),
            "storage": storage(),
            "versions": versions(),
        }
    for key in (
        "worse_than_adam",
        "median_times_faster_than_adam",
        "slowest_seconds",
        "many_tasks",
        "sweep",
        "storage",
    ):
        print(key, result[key])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
