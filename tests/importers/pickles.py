"""Pickle programs, made by hand."""

import io
import pickle

import torch


def rebuilt(storage_type="FloatStorage", key="0", count=4, offset=0, size=(4,), stride=(1,)):
    """A pickle program of one tensor, described freely."""
    stream = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, _Storage):
                return ("storage", getattr(torch, storage_type), key, "cpu", count)
            return None

    Pickler(stream, protocol=2).dump({"x": _Tensor(_Storage(), offset, size, stride)})
    return stream.getvalue()


class _Storage:
    """Stands for a storage while pickling."""


class _Tensor:
    """Pickles like a tensor."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, (*self.arguments, False, {})


class Calls:
    """Pickles as a call of ``function``, which a plain unpickler would make."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __call__(self):
        """Never called: only what can be called can be pickled as a function."""

    def __reduce__(self):
        return self.call


def calling(function, *arguments):
    """A pickle program that calls something."""
    return pickle.dumps({"x": Calls(function, *arguments)}, protocol=2)
