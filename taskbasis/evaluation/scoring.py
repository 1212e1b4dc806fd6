"""Scores of many (weights, α, task, split), each computed once, by worker processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from lightning.pytorch.callbacks import LambdaCallback
from safetensors.torch import load_file
from torch import Tensor

from taskbasis.data.pixels import PIXELS, PixelBatches, Pixels
from taskbasis.evaluation.counts import Count
from taskbasis.evaluation.module import AlphaScorer
from taskbasis.models.clip import ClipModel, ImageEncoder, image_encoder
from taskbasis.models.stages import HEAD
from taskbasis.parallel import Begin, Progress, Report, Workers
from taskbasis.store import Artifact, StageKey, Store, write_json
from taskbasis.trainer import Compute, in_order, quiet_trainer

SCORES = "scores.json"

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ScoreKey(StageKey):
    """Key of the scores of θ + α·v on one split of one task."""

    STAGE: ClassVar[str] = "scores"
    VERSION: ClassVar[int] = 2
    weights: str
    """Content hash of the file of θ."""
    vector: str | None
    """Content hash of the file of v, or None to score θ itself."""
    alphas: tuple[float, ...]
    head: str
    pixels: str
    mean: tuple[float, ...]
    """Per channel: stored pixels are normalised by the image encoder."""
    std: tuple[float, ...]
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
    """What is scored, for progress, unique in its stage; empty to report nothing."""
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

    def scores(self, requests: Sequence[Request], workers: Workers) -> list[tuple[Count, ...]]:
        """For each request the counts at its α, in order."""
        return self.map(Scorer.score, requests, requests[0].stage, workers)

    def map(
        self,
        function: Callable[[Scorer, Item], Result],
        items: Sequence[Item],
        stage: str,
        workers: Workers,
    ) -> list[Result]:
        """``function(scorer, item)`` for every item, in order; each worker process has one scorer."""
        workers.report(Begin(stage, len(items)))
        count = workers.count
        shares = [_Share(self, function, tuple(items[i::count])) for i in range(count) if items[i::count]]
        found = workers.map(_score_share, shares)
        return [found[i % count][i // count] for i in range(len(items))]


@dataclass(frozen=True)
class _Share(Generic[Item, Result]):
    scoring: Scoring
    function: Callable[[Scorer, Item], Result]
    items: tuple[Item, ...]


def _score_share(share: _Share[Item, Result], report: Report) -> list[Result]:
    scorer = Scorer(share.scoring, report)
    return [share.function(scorer, item) for item in share.items]


class Scorer:
    """Scores one request after the other with one image encoder, keeping the last weights it read."""

    def __init__(self, scoring: Scoring, report: Report) -> None:
        self._scoring, self.report = scoring, report
        self._encoder: ImageEncoder | None = None
        self._read: dict[str, Mapping[str, Tensor]] = {}

    def score(self, request: Request) -> tuple[Count, ...]:
        """The counts at the request's α, computed unless they are stored."""
        scoring, shown = self._scoring, self._scoring.clip.preprocess()
        key = ScoreKey(
            weights=request.weights.sha256,
            vector=request.vector.sha256 if request.vector else None,
            alphas=request.alphas,
            head=request.head.content,
            pixels=request.pixels.content,
            mean=shown.mean,
            std=shown.std,
            batch_size=scoring.batch_size,
            precision=scoring.compute.precision,
            threads=scoring.compute.threads,
        )

        def build(folder: Path) -> None:
            totals = self._run(request)
            write_json(folder / SCORES, {"correct": [c for c, _ in totals], "n": totals[0][1]})

        artifact = scoring.store.make(key, build)
        if request.item:
            self.report(Progress(request.stage, request.item, len(request.alphas), len(request.alphas)))
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
        loader = in_order(batches)
        callbacks = [self._ticking(request, len(batches))] if request.item else []
        trainer = quiet_trainer(**self._scoring.compute.trainer_options(), callbacks=callbacks)
        trainer.validate(module, [loader] * len(request.alphas), verbose=False)
        return module.totals()

    def _ticking(self, request: Request, batches: int) -> LambdaCallback:
        done = iter(range(len(request.alphas) * batches))
        total = len(request.alphas)

        def tick(*_: object) -> None:
            self.report(Progress(request.stage, request.item, next(done) // batches, total))

        return LambdaCallback(on_validation_batch_end=tick)

    def _load(self, role: str, weights: Weights) -> Mapping[str, Tensor]:
        known = f"{role} {weights.sha256}"
        if known not in self._read:
            self._read = {k: v for k, v in self._read.items() if not k.startswith(role)}
            self._read[known] = load_file(weights.path)
        return self._read[known]
