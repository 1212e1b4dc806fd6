"""The exceptions a user can meet. All derive from :class:`TaskbasisError`."""

from __future__ import annotations


class TaskbasisError(Exception):
    """Base class: the message names the key or file, the value, and what would be accepted."""


class ConfigError(TaskbasisError):
    """A configuration value is unknown, of the wrong type or out of range."""


class DataError(TaskbasisError):
    """A dataset is missing, damaged or not what its name promises."""


class ModelError(TaskbasisError):
    """A model cannot be built, or does not fit the weights it was given."""


class StoreError(TaskbasisError):
    """A stored artifact is damaged, or the store cannot be read or written."""


class VectorError(TaskbasisError):
    """Checkpoints do not form task vectors: other names, shapes, or non-finite values."""


class ImporterError(TaskbasisError):
    """A foreign file is damaged, of another format, or refers to something that is not data."""


class BasisError(TaskbasisError):
    """A basis cannot be fitted or applied: bad M, non-finite Gram matrix, other task names."""


class TrainingError(TaskbasisError):
    """Fine-tuning went wrong, for instance a loss that is not finite."""
