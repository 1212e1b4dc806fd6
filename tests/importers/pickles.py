"""Pickle programs, made by hand."""

import io
import pickle

import torch


def rebuilt(*described, **named):
    """A pickle program of one tensor, described freely."""
    return program({"x": tensor(*described, **named)})


def program(value):
    """A pickle program, with storages as torch.save refers to them."""
    stream = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, _Storage):
                return ("storage", getattr(torch, value.type), value.key, "cpu", value.count)
            return None

    Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


def tensor(storage_type="FloatStorage", key="0", count=4, offset=0, size=(4,), stride=(1,), state=None):
    """Pickles like a tensor that is described freely, whose state may be set afterwards."""
    storage = _Storage(storage_type, key, count)
    return Calls(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, {}, state=state)


class _Storage:
    """Stands for a storage while pickling."""

    def __init__(self, kind, key, count):
        self.type, self.key, self.count = kind, key, count


class Calls:
    """Pickles as a call of ``function``, which a plain unpickler would make, and a state of the result."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __call__(self):
        """Never called: only what can be called can be pickled as a function."""

    def __reduce__(self):
        return self.call


def calling(function, *arguments):
    """A pickle program that calls something."""
    return pickle.dumps({"x": Calls(function, *arguments)}, protocol=2)
