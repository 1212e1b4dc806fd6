"""A machine for pickle programs that acts on plain containers and inert objects, and on nothing else.

The opcodes of pickle work on whatever lies on the stack, by its methods: ``BUILD`` calls ``__setstate__``
(a tensor's sets its storage anew), ``ADDITEMS`` calls ``add`` (a tensor's allocates), and so on. Here every
opcode that calls or alters something first looks at what it is.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from taskbasis.errors import ImporterError

_REFUSED_OPCODES = {
    *("EXT1", "EXT2", "EXT4", "INST", "OBJ", "NEXT_BUFFER", "READONLY_BUFFER"),
    # These are not in what torch.save writes.
    *("DICT", "FROZENSET", "NEWOBJ_EX", "PERSID"),
}
_KEYS = (str, bytes, int, float, type(None))
"""What may be a key of a dict or an element of a set: its hash takes bounded time and stack."""


class Inert:
    """Stands for an object of a class that was not imported.

    It keeps the arguments and the state the pickle gave it; nothing of the class itself exists here.
    """

    NAME: ClassVar[str] = ""
    """Module and name of the class in the pickle."""
    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any) -> Inert:
        """Keep what the class would have been given."""
        made = super().__new__(cls)
        made.arguments, made.state = arguments, None
        return made

    def __init__(self, *arguments: Any) -> None:
        """Nothing is left to do."""


class Function:
    """A function that a pickle may call."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns."""
        return self._call(*arguments)


class Machine(pickle._Unpickler):
    """Runs a program; subclasses say what its names and its persistent ids stand for.

    Args:
        path: the file that the program is from, for messages.
        program: the pickle.

    Raises:
        ImporterError: if the program has opcodes that would look names up elsewhere, or is damaged; while
            it runs, if it acts on something that it should not.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]

    def __init__(self, path: Path, program: bytes) -> None:
        super().__init__(io.BytesIO(program))
        self.path = path
        _check_opcodes(path, program)

    def _refuse(self, does: str, target: Any) -> NoReturn:
        kind = target if isinstance(target, type) else type(target)
        name = kind.NAME if issubclass(kind, Inert) else kind.__name__
        raise ImporterError(f"{self.path}: the pickle {does} {name[:80]}, which no checkpoint does")

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Inert):
            target.state = state
        # State dicts carry the versions of their modules as an attribute; nothing here needs them.
        elif type(target) is not OrderedDict:
            self._refuse("sets the state of a", target)

    def _call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(arguments) is not tuple or not (isinstance(function, Function) or _is_inert(function)):
            self._refuse("calls a", function)
        self.stack.append(function(*arguments))

    def _make(self) -> None:
        if not _is_inert(self.stack[-2]):
            self._refuse("makes a", self.stack[-2])
        self._call()

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def _set_items(self) -> None:
        self._update(self._pop_mark())

    def _update(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) not in (dict, OrderedDict):
            self._refuse("sets items of a", target)
        self._check_keys(items[::2])
        target.update(zip(items[::2], items[1::2], strict=True))

    def _append(self) -> None:
        item = self.stack.pop()
        self._extend([item])

    def _appends(self) -> None:
        self._extend(self._pop_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            self._refuse("appends to a", target)
        target.extend(items)

    def _add_items(self) -> None:
        items, target = self._pop_mark(), self.stack[-1]
        if type(target) is not set:
            self._refuse("adds to a", target)
        self._check_keys(items)
        target.update(items)

    def make_set(self, items: Any = None) -> set[Any]:
        """A set of the elements of a list, which it takes: copies would make a short program large."""
        if items is None:
            return set()
        if type(items) is not list:
            self._refuse("makes a set of a", items)
        self._check_keys(items)
        made = set(items)
        items.clear()
        return made

    def _check_keys(self, keys: list[Any]) -> None:
        for key in keys:
            if type(key) not in (*_KEYS, bool):
                self._refuse("has as a key a", key)

    def _pop_mark(self) -> list[Any]:
        items: list[Any] = self.pop_mark()  # type: ignore[attr-defined]
        return items

    dispatch |= {
        pickle.BUILD[0]: _build,
        pickle.REDUCE[0]: _call,
        pickle.NEWOBJ[0]: _make,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.APPEND[0]: _append,
        pickle.APPENDS[0]: _appends,
        pickle.ADDITEMS[0]: _add_items,
    }


def _is_inert(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Inert)


def _check_opcodes(path: Path, program: bytes) -> None:
    """Refuse opcodes that would look names up elsewhere, or make the machine allocate without bound."""
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(program)):
            if opcode.name in _REFUSED_OPCODES:
                raise ImporterError(f"{path}: the pickle uses the opcode {opcode.name}")
            if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(str(argument)) > count:
                raise ImporterError(f"{path}: the pickle stores at memo place {argument}")
    except ValueError as error:
        raise ImporterError(f"{path} is damaged: {error}") from error
