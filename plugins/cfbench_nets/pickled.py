"""What a pickle says, read as data: no name in it is looked up, nothing in it is called.

A pickle is a program for a stack machine, and unpickling runs it. Here its instructions, which Python's `pickletools`
documents and decodes, are only followed on paper: numbers, texts, lists and dictionaries become themselves, a stored
tensor becomes a description of it, and everything else, objects of unknown classes above all, becomes a mark without
content.
"""

import pickletools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cfbench.errors import DataError

#: What can be a key: of other types the hash may be slow (nested tuples) or meaningless (marks).
_KEYS = (str, int, float, bool, bytes)
#: Most dimensions of a tensor.
_DIMENSIONS = 8


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle names. It is never imported."""

    path: str


@dataclass(frozen=True, eq=False)
class Unknown:
    """Something that only running the pickle would give."""


@dataclass(frozen=True)
class Storage:
    """A file of numbers."""

    #: Its name below `data/`, the name of torch's class for it, and how many numbers are in it.
    file: str
    kind: str
    length: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as torch describes it: a window on a file of numbers."""

    storage: Storage
    #: First number, then size and step per dimension, in numbers.
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def read_pickle(data: bytes) -> object:
    """Return what the pickle describes. Raises DataError, saying where, if it is no complete pickle."""
    machine, at = _Machine(), 0
    try:
        for instruction, argument, position in pickletools.genops(data):
            at = position or 0
            machine.step(instruction.name, argument)
        return machine.pop()
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise DataError(f"not a pickle that torch.save writes: at byte {at} of {len(data)}, {error}") from error


@dataclass
class _Machine:
    """The stack, the marks on it, and the values that the pickle noted for later."""

    stack: list[object] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    notes: dict[int, object] = field(default_factory=dict)

    def step(self, instruction: str, argument: object) -> None:
        if instruction in _STEPS:
            _STEPS[instruction](self, argument)
        elif instruction in _CONSTANTS:
            self.stack.append(argument)
        elif instruction not in _SILENT:
            raise ValueError(f"instruction {instruction} has no place there")

    def pop(self) -> object:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise IndexError("the stack is empty")
        return self.stack.pop()

    def pop_to_mark(self) -> list[object]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop_last(self, n: int) -> tuple[object, ...]:
        return tuple(reversed([self.pop() for _ in range(n)]))

    def top(self) -> object:
        return self.stack[-1]


def _append(machine: _Machine, items: list[object]) -> None:
    into = machine.top()
    if isinstance(into, list):
        into.extend(items)


def _set_items(machine: _Machine, items: Sequence[object]) -> None:
    into = machine.top()
    pairs = zip(items[::2], items[1::2], strict=True)
    if isinstance(into, dict):
        into.update({key: value for key, value in pairs if isinstance(key, _KEYS)})


def _new_dict(machine: _Machine, _argument: object) -> None:
    items = machine.pop_to_mark()
    machine.stack.append({})
    _set_items(machine, items)


def _put(machine: _Machine, key: object) -> None:
    machine.notes[_whole(key)] = machine.top()


def _named(machine: _Machine, argument: object) -> None:
    machine.stack.append(Name(".".join(str(argument).split(" "))))


def _named_on_stack(machine: _Machine, _argument: object) -> None:
    module, name = machine.pop_last(2)
    machine.stack.append(Name(f"{module}.{name}") if isinstance(module, str) and isinstance(name, str) else Unknown())


def _call(machine: _Machine, _argument: object) -> None:
    function, arguments = machine.pop_last(2)
    made = _KNOWN.get(function.path) if isinstance(function, Name) else None
    machine.stack.append(made(arguments) if made and isinstance(arguments, tuple) else Unknown())


def _replace(taken: int) -> Callable[[_Machine, object], None]:
    """Return the step that takes this many values for an object that is not made."""

    def step(machine: _Machine, _argument: object) -> None:
        machine.pop_last(taken)
        machine.stack.append(Unknown())

    return step


def _replace_marked(machine: _Machine, _argument: object) -> None:
    machine.pop_to_mark()
    machine.stack.append(Unknown())


def _stored_elsewhere(machine: _Machine, _argument: object) -> None:
    """Take torch's reference to a file of numbers: ("storage", class, file, device, length)."""
    match machine.pop():
        case ("storage", Name(path=kind), str(file), _, length):
            machine.stack.append(Storage(file, kind, _whole(length)))
        case _:
            machine.stack.append(Unknown())


def _tensor(arguments: tuple[object, ...]) -> object:
    """Return the tensor that torch._utils._rebuild_tensor_v2(storage, offset, shape, stride, ...) would make."""
    match arguments:
        case (Storage() as storage, offset, shape, stride, *_):
            return StoredTensor(storage, _whole(offset), _wholes(shape), _wholes(stride))
    return Unknown()


def _parameter(arguments: tuple[object, ...]) -> object:
    return arguments[0] if arguments and isinstance(arguments[0], StoredTensor) else Unknown()


def _ordered(arguments: tuple[object, ...]) -> object:
    """Return an empty dictionary: its items follow. Items given at once are how Python 2 wrote it."""
    return Unknown() if arguments else {}


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"expected a whole number, not {type(value).__name__} {str(value)[:40]}")
    return value


def _wholes(value: object) -> tuple[int, ...]:
    if not isinstance(value, tuple) or len(value) > _DIMENSIONS:
        raise TypeError(f"expected at most {_DIMENSIONS} whole numbers")
    return tuple(_whole(number) for number in value)


#: The only functions whose result is made, and how: by the code above, not by theirs.
_KNOWN: dict[str, Callable[[tuple[object, ...]], object]] = {
    "collections.OrderedDict": _ordered,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
}
_SILENT = frozenset({"PROTO", "FRAME", "STOP"})
_CONSTANTS = frozenset(
    {
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
    }
)
_STEPS: dict[str, Callable[[_Machine, object], object]] = {
    "NONE": lambda m, _: m.stack.append(None),
    "NEWTRUE": lambda m, _: m.stack.append(True),
    "NEWFALSE": lambda m, _: m.stack.append(False),
    "MARK": lambda m, _: m.marks.append(len(m.stack)),
    "POP": lambda m, _: m.pop(),
    "POP_MARK": lambda m, _: m.pop_to_mark(),
    "DUP": lambda m, _: m.stack.append(m.top()),
    "PUT": _put,
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": lambda m, _: _put(m, len(m.notes)),
    "GET": lambda m, key: m.stack.append(m.notes[_whole(key)]),
    "BINGET": lambda m, key: m.stack.append(m.notes[_whole(key)]),
    "LONG_BINGET": lambda m, key: m.stack.append(m.notes[_whole(key)]),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "LIST": lambda m, _: m.stack.append(m.pop_to_mark()),
    "APPEND": lambda m, _: _append(m, [m.pop()]),
    "APPENDS": lambda m, _: _append(m, m.pop_to_mark()),
    "EMPTY_TUPLE": lambda m, _: m.stack.append(()),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.pop_to_mark())),
    "TUPLE1": lambda m, _: m.stack.append(m.pop_last(1)),
    "TUPLE2": lambda m, _: m.stack.append(m.pop_last(2)),
    "TUPLE3": lambda m, _: m.stack.append(m.pop_last(3)),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    "DICT": _new_dict,
    "SETITEM": lambda m, _: _set_items(m, m.pop_last(2)),
    "SETITEMS": lambda m, _: _set_items(m, m.pop_to_mark()),
    "EMPTY_SET": lambda m, _: m.stack.append(Unknown()),
    "ADDITEMS": lambda m, _: m.pop_to_mark(),
    "FROZENSET": _replace_marked,
    "GLOBAL": _named,
    "STACK_GLOBAL": _named_on_stack,
    "REDUCE": _call,
    "NEWOBJ": _replace(2),
    "NEWOBJ_EX": _replace(3),
    "INST": _replace_marked,
    "OBJ": _replace_marked,
    # The state of an object: nothing here has any. That of a state_dict is its history of versions.
    "BUILD": lambda m, _: m.pop(),
    "PERSID": lambda m, _: m.stack.append(Unknown()),
    "BINPERSID": _stored_elsewhere,
}
