"""PTX text to instructions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_DIRECTIVE_LINE = re.compile(r"^\s*\.(loc|file|pragma)\b[^\n]*$", re.MULTILINE)
_ENTRY = re.compile(r"\.entry\s+(\w+)\s*\((.*?)\)", re.DOTALL)
_PARAMETER = re.compile(r"\.param\s+\.(\w+)\s[^,]*?(\w+)\s*(?:,|$)")
_LABEL = re.compile(r"\s*([$\w]+)\s*:(?!:)")
_REGISTERS = re.compile(r"\.reg\s+\.(\w+)\s+(.*)", re.DOTALL)
_RANGE = re.compile(r"(%?[$\w]+)<(\d+)>")
_GUARD = re.compile(r"@(!?)\s*([%$\w]+)\s+")
_SHARED = re.compile(r"\.shared\s+(?:\.align\s+\d+\s+)?\.b8\s+(\w+)\s*\[(\d*)\]")


@dataclass(frozen=True)
class Memory:
    """An address operand: a register or a symbol, and a number of bytes."""

    base: str
    offset: int


# A register, a symbol or a special register; a number of C; an address; several of these in braces.
Operand = str | int | Memory | tuple["Operand", ...]


@dataclass(frozen=True)
class Instruction:
    """`@guard opcode operands;`. guard: (register, whether it must be false), or None. line: the text, for errors."""

    opcode: tuple[str, ...]
    operands: tuple[Operand, ...]
    guard: tuple[str, bool] | None
    line: str


@dataclass
class Program:
    """A kernel. parameters: (name, type) in order. registers: name -> type. labels: name -> place of an instruction. targets: name ->
    labels of a list that `brx` picks from.
    """

    name: str
    parameters: list[tuple[str, str]]
    registers: dict[str, str] = field(default_factory=dict)
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    targets: dict[str, list[str]] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)


def parse(ptx: str) -> Program:
    """Return the one kernel of a module. Raises `ValueError` for what a kernel of Triton has not, such as functions that are called."""
    text = _DIRECTIVE_LINE.sub("", _COMMENT.sub("", ptx))
    entry = _ENTRY.search(text)
    if entry is None or len(_ENTRY.findall(text)) != 1:
        raise ValueError("expected one .entry")
    program = Program(entry[1], [(name, kind) for kind, name in _PARAMETER.findall(entry[2])])
    program.shared = {name: 0 for name, _ in _SHARED.findall(text[: entry.start()])}
    if len(program.shared) > 1:
        raise ValueError(f"expected one block of shared memory, found {program.shared}")
    _Body(program, text[text.index("{", entry.end()) :]).read()
    return program


class _Body:
    """Reads statements between braces. A register declared within inner braces is another than one of its name outside."""

    def __init__(self, program: Program, text: str) -> None:
        self.program, self.text, self.at = program, text, 0
        self.scopes: list[dict[str, str]] = []
        self.num_scopes = 0

    def read(self) -> None:
        while True:
            self._skip_space()
            here = self.text[self.at]
            if here == "{":
                self.scopes.append({})
                self.num_scopes += 1
                self.at += 1
            elif here == "}":
                self.scopes.pop()
                self.at += 1
                if not self.scopes:
                    return
            elif label := _LABEL.match(self.text, self.at):
                self.program.labels[label[1]] = len(self.program.instructions)
                self.at = label.end()
            else:
                end = self.text.index(";", self.at)
                self._statement(" ".join(self.text[self.at : end].split()))
                self.at = end + 1

    def _skip_space(self) -> None:
        while self.text[self.at].isspace() or self.text[self.at] == ";":
            self.at += 1

    def _statement(self, line: str) -> None:
        if declared := _REGISTERS.match(line):
            for name in declared[2].split(","):
                self._declare(name.strip(), declared[1])
            return
        if line.startswith(".branchtargets "):
            label = next(name for name, place in reversed(self.program.labels.items()) if place == len(self.program.instructions))
            self.program.targets[label] = [one.strip() for one in line.partition(" ")[2].split(",")]
            return
        if line.startswith("."):
            raise ValueError(f"unknown directive: {line}")
        rest, guard = line, None
        if found := _GUARD.match(line):
            guard, rest = (self._own(found[2]), found[1] == "!"), line[found.end() :]
        opcode, _, operands = rest.partition(" ")
        parsed = tuple(self._operand(one) for one in _split(operands))
        self.program.instructions.append(Instruction(tuple(opcode.split(".")), parsed, guard, line))

    def _declare(self, name: str, kind: str) -> None:
        several = _RANGE.fullmatch(name)
        for one in [f"{several[1]}{i}" for i in range(int(several[2]))] if several else [name]:
            own = one if len(self.scopes) == 1 else f"{one}@{self.num_scopes}"
            self.scopes[-1][one] = own
            self.program.registers[own] = kind

    def _own(self, name: str) -> str:
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), name)

    def _operand(self, text: str) -> Operand:
        if text[0] == "{":
            return tuple(self._operand(one) for one in _split(text[1:-1]))
        if text[0] == "[":
            base, _, offset = text[1:-1].replace(" ", "").partition("+")
            return Memory(self._own(base), int(offset or "0", 0))
        number = _number(text)
        return self._own(text) if number is None else number


def _split(operands: str) -> list[str]:
    """Split at commas outside of brackets; `d|p` of two results is two operands."""
    found, depth, begin = [], 0, 0
    for at, one in enumerate(operands):
        depth += (one in "{[") - (one in "}]")
        if one in ",|" and depth == 0:
            found.append(operands[begin:at])
            begin = at + 1
    return [one.strip() for one in [*found, operands[begin:]] if one.strip()]


def _number(text: str) -> int | None:
    """Return an integer, or the bits of a float, as Python's int; None where it is a name."""
    if text[:2] in ("0f", "0F", "0d", "0D"):
        return int(text[2:], 16)
    try:
        return int(text.rstrip("U"), 0)
    except ValueError:
        return None
