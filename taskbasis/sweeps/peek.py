"""Looking into the store without making anything."""

from __future__ import annotations

from dataclasses import replace

from taskbasis.builders import Plan
from taskbasis.errors import StoreError
from taskbasis.parallel import Event, Workers
from taskbasis.pipeline import Clock, Models, compress, obtain_models
from taskbasis.store import Artifact, StageKey, Store
from taskbasis.store.store import Build


class NotStoredError(StoreError):
    """What was asked for is not in the store."""

    def __init__(self, key: StageKey) -> None:
        super().__init__(f"{key.STAGE} {key.short} is not in the store")
        self.stage = key.STAGE


class Peek(Store):
    """A store that makes nothing: the stages of the pipeline find what there is, or raise."""

    def make(self, key: StageKey, build: Build) -> Artifact:
        """The stored result of ``key``.

        Raises:
            NotStoredError: if there is none.
        """
        if (found := self.find(key)) is None:
            raise NotStoredError(key)
        return found


def stored_models(plan: Plan) -> Models | None:
    """The models of a plan, if all of them and their images are in the store."""
    try:
        return obtain_models(_peeking(plan), _nobody(), Clock())
    except NotStoredError:
        return None


def missing_of_basis(plan: Plan, models: Models) -> str | None:
    """What a plan's basis lacks in the store: its ``gram``, only the ``basis``, or nothing (None)."""
    try:
        compress(_peeking(plan), models.checkpoints, Clock())
    except NotStoredError as missing:
        return missing.stage
    return None


def _peeking(plan: Plan) -> Plan:
    return replace(plan, store=Peek(plan.store.root), compute=replace(plan.compute, workers=1))


def _nobody() -> Workers:
    def ignore(event: Event) -> None:
        """Nobody looks at the progress of looking."""

    return Workers(1, 1, ignore)
