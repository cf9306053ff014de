"""Optimised programs of XLA: their instructions, and the calls that made each."""

import math
import re
from typing import NamedTuple

SIZES = {
    "pred": 1, "s4": 1, "u4": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2,
    "bf16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8, "c64": 8,
}  # fmt: skip


class Instruction(NamedTuple):
    """One instruction of a computation."""

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    attributes: str
    is_root: bool

    @property
    def bytes(self) -> int:
        """Size of the result."""
        return shape_bytes(self.shape)

    def attribute(self, name: str) -> str:
        """A word, number or name of another computation; empty if it is not given."""
        found = re.search(rf'\b{name}="?%?([\w.$\-]+)', self.attributes)
        return found[1] if found else ""


class Frame(NamedTuple):
    """A line of Python that is being executed."""

    file: str
    function: str


class Program(NamedTuple):
    """A program's computations, and the stacks of calls its instructions name."""

    computations: dict[str, list[Instruction]]
    entry: str
    stacks: dict[int, list[Frame]]  # outermost call first

    def stack(self, instruction: Instruction) -> list[Frame]:
        """The calls that made an instruction."""
        number = instruction.attribute("stack_frame_id")
        return self.stacks.get(int(number), []) if number.isdigit() else []


def shape_bytes(shape: str) -> int:
    """Size of an array, or of all arrays of a tuple."""
    arrays = re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", shape)
    return sum(
        SIZES.get(kind, 0) * math.prod(int(n) for n in dims.split(",") if n)
        for kind, dims in arrays
    )


def parse(text: str) -> Program:
    """Read a program in its text form."""
    computations: dict[str, list[Instruction]] = {}
    entry, body = "", []
    for line in text.splitlines():
        header = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        if header:
            body = computations.setdefault(header[2], [])
            entry = header[2] if header[1] else entry
            continue
        match = re.match(r"\s+(ROOT )?%([\w.\-]+) = (.*)$", line)
        if match:
            body.append(_instruction(match[2], match[3], bool(match[1])))
    return Program(computations, entry, _stacks(text))


def _instruction(name: str, text: str, is_root: bool) -> Instruction:
    end = _closing(text) + 1 if text.startswith("(") else text.index(" ")
    shape, call = text[:end], text[end:].strip()
    opcode, _, rest = call.partition("(")
    end = _closing("(" + rest) - 1
    inside, attributes = rest[:end], rest[end + 1 :]
    if opcode in ("parameter", "constant"):
        attributes = f"value={inside}{attributes}"
    operands = tuple(re.findall(r"%([\w.\-]+)", inside))
    return Instruction(name, shape, opcode, operands, attributes, is_root)


def _closing(text: str) -> int:
    """Position of the bracket that closes the one with which a text begins."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return position
    return len(text)


def _stacks(text: str) -> dict[int, list[Frame]]:
    """The stacks of calls in the tables at the head of a program."""

    def table(title: str) -> dict[int, str]:
        rows = re.search(rf"^{title}\n((?:\d+ .*\n)*)", text, re.MULTILINE)
        pairs = (row.split(" ", 1) for row in (rows[1] if rows else "").splitlines())
        return {int(number): row.strip('"') for number, row in pairs}

    def field(row: str, name: str) -> int:
        found = re.search(rf"{name}=(\d+)", row)
        return int(found[1]) if found else 0

    files, functions = table("FileNames"), table("FunctionNames")
    frames = {
        number: Frame(
            files.get(field(row, "file_name_id"), ""),
            functions.get(field(row, "function_name_id"), ""),
        )
        for number, row in table("FileLocations").items()
    }
    rows, stacks = table("StackFrames"), dict[int, list[Frame]]()
    # The outermost frame has no parent: printed as 0, or, by recent versions, all
    # parents are printed with 1 added.
    none = field(rows[min(rows)], "parent_frame_id") if rows else 0
    for number, row in rows.items():
        outer = stacks.get(field(row, "parent_frame_id") - none, [])
        frame = frames.get(field(row, "file_location_id"))
        stacks[number] = [*outer, frame] if frame else outer
    return stacks
