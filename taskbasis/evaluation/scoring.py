"""Scores of many (weights, α, task, split), each computed once, by worker processes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from lightning.pytorch.callbacks import LambdaCallback
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader

from taskbasis.data.pixels import PIXELS, PixelBatches, Pixels
from taskbasis.evaluation.counts import Count
from taskbasis.evaluation.module import AlphaScorer
from taskbasis.models.clip import ClipModel, ImageEncoder, image_encoder
from taskbasis.models.stages import HEAD
from taskbasis.parallel import Begin, Progress, Report, Workers
from taskbasis.store import Artifact, StageKey, Store, write_json
from taskbasis.trainer import Compute, quiet_trainer

SCORES = "scores.json"


@dataclass(frozen=True)
class ScoreKey(StageKey):
    """Key of the scores of θ + α·v on one split of one task."""

    STAGE: ClassVar[str] = "scores"
    VERSION: ClassVar[int] = 1
    weights: str
    """Content hash of the file of θ."""
    vector: str | None
    """Content hash of the file of v, or None to score θ itself."""
    alphas: tuple[float, ...]
    head: str
    pixels: str
    batch_size: int
    precision: str
    threads: int


@dataclass(frozen=True)
class Weights:
    """A file of tensors in the store."""

    path: Path
    sha256: str

    @classmethod
    def of(cls, artifact: Artifact, name: str) -> Weights:
        """File ``name`` of an artifact."""
        return cls(artifact.file(name), artifact.sha256(name))


@dataclass(frozen=True)
class Request:
    """Scores wanted: θ + α·v for each α on one split of one task."""

    stage: str
    """Name of the stage, for progress."""
    item: str
    """What is scored, for progress; unique in its stage."""
    weights: Weights
    head: Artifact
    pixels: Artifact
    vector: Weights | None = None
    alphas: tuple[float, ...] = (0.0,)


@dataclass(frozen=True)
class Bench:
    """What models are scored with and on."""

    theta0: Artifact
    heads: Mapping[str, Artifact]
    """Zero-shot head by task."""
    pixels: Mapping[str, Mapping[str, Artifact]]
    """Evaluation pixels by task and split."""

    def request(
        self,
        stage: str,
        item: str,
        *,
        task: str,
        split: str,
        weights: Weights,
        vector: Weights | None = None,
        alphas: tuple[float, ...] = (0.0,),
    ) -> Request:
        """Scores of ``weights`` + α·``vector`` on a split of a task."""
        return Request(stage, item, weights, self.heads[task], self.pixels[task][split], vector, alphas)


@dataclass(frozen=True)
class Scoring:
    """How scores are computed: everything a worker process needs besides the requests."""

    store: Store
    clip: ClipModel
    batch_size: int
    compute: Compute

    def scores(self, requests: list[Request], workers: Workers) -> list[tuple[Count, ...]]:
        """For each request the counts at its α, in order."""
        workers.report(Begin(requests[0].stage, len(requests)))
        shares = [_Share(self, tuple(requests[i :: workers.count])) for i in range(workers.count)]
        found = workers.map(_score_share, [share for share in shares if share.requests])
        return [found[i % workers.count][i // workers.count] for i in range(len(requests))]


@dataclass(frozen=True)
class _Share:
    scoring: Scoring
    requests: tuple[Request, ...]


def _score_share(share: _Share, report: Report) -> list[tuple[Count, ...]]:
    scorer = _Scorer(share.scoring, report)
    return [scorer.score(request) for request in share.requests]


class _Scorer:
    """Scores one request after the other with one image encoder, keeping the last weights it read."""

    def __init__(self, scoring: Scoring, report: Report) -> None:
        self._scoring, self._report = scoring, report
        self._encoder: ImageEncoder | None = None
        self._read: dict[str, Mapping[str, Tensor]] = {}

    def score(self, request: Request) -> tuple[Count, ...]:
        scoring = self._scoring
        key = ScoreKey(
            weights=request.weights.sha256,
            vector=request.vector.sha256 if request.vector else None,
            alphas=request.alphas,
            head=request.head.content,
            pixels=request.pixels.content,
            batch_size=scoring.batch_size,
            precision=scoring.compute.precision,
            threads=scoring.compute.threads,
        )

        def build(folder: Path) -> None:
            totals = self._run(request)
            write_json(folder / SCORES, {"correct": [c for c, _ in totals], "n": totals[0][1]})

        artifact = scoring.store.make(key, build)
        self._report(Progress(request.stage, request.item, len(request.alphas), len(request.alphas)))
        stored = json.loads(artifact.file(SCORES).read_text())
        return tuple(Count(correct, stored["n"]) for correct in stored["correct"])

    def _run(self, request: Request) -> list[tuple[int, int]]:
        if self._encoder is None:
            self._encoder = image_encoder(self._scoring.clip).eval()
        module = AlphaScorer(
            self._encoder,
            load_file(request.head.file(HEAD))["weight"],
            self._load("weights", request.weights),
            self._load("vector", request.vector) if request.vector else {},
            request.alphas,
        )
        batches = PixelBatches(Pixels.open(request.pixels.file(PIXELS)), self._scoring.batch_size)
        loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
            batches, batch_size=None, generator=torch.Generator()
        )
        done = iter(range(len(request.alphas) * len(batches)))
        total = len(request.alphas)
        tick = LambdaCallback(
            on_validation_batch_end=lambda *_: self._report(
                Progress(request.stage, request.item, next(done) // len(batches), total)
            )
        )
        trainer = quiet_trainer(**self._scoring.compute.trainer_options(), callbacks=[tick])
        trainer.validate(module, [loader] * len(request.alphas), verbose=False)
        return module.totals()

    def _load(self, role: str, weights: Weights) -> Mapping[str, Tensor]:
        known = f"{role} {weights.sha256}"
        if known not in self._read:
            self._read = {k: v for k, v in self._read.items() if not k.startswith(role)}
            self._read[known] = load_file(weights.path)
        return self._read[known]
