"""Launches and memory traffic of one training iteration, from its optimised program.

Bytes are those that a kernel must move at least: every operand read once and every
result written once; of a gathered or sliced operand the part that is read, and of an
operand updated in place the part that is written. What stays in the cache between two
kernels is counted nevertheless, and what a product reads twice is counted once.
"""

import collections
import re
from collections.abc import Iterator
from typing import NamedTuple

from experiments.support import hlo

# Part of the loop, by the first of these calls that is in the stack: file and function.
PARTS = (
    ("environment", "jaxq/envs/lanes.py", "step"),
    ("acting", "jaxq/training/loop.py", "collect.<locals>.act"),
    ("tallies", "jaxq/training/metrics.py", ""),
    ("ring", "jaxq/agents/replay_agent.py", "replay_agent.<locals>.observe"),
    ("returns", "jaxq/agents/rollout_agent.py", "rollout_agent.<locals>.observe"),
    ("gather", "jaxq/replay/", ""),
    ("gather", "jaxq/agents/rollout_agent.py", "minibatch"),
    ("network", "jaxq/agents/learner.py", "batch_loss.<locals>.total"),
    ("network", "jaxq/xla/matmul.py", ""),
    ("optimizer", "optax/", ""),
    ("optimizer", "jaxq/agents/learner.py", ""),
    ("optimizer", "jaxq/agents/targets.py", ""),
    ("keys", "jaxq/xla/prng.py", ""),
)
OTHER = "other"
# They launch nothing.
FREE = {
    "parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all",
    "opt-barrier", "add-dependency", "iota", "partition-id", "replica-id",
}  # fmt: skip
SLICES = ("slice", "dynamic-slice", "gather")
IN_PLACE = ("dynamic-update-slice", "scatter")
VIEWS = ("bitcast", "reshape")


class Launch(NamedTuple):
    """A kernel, copy or decision of one iteration."""

    name: str
    kind: str  # loop, reduction, product, scatter, copy, ...
    bytes: int
    times: int  # per iteration
    part: str  # of the loop; see PARTS
    shape: str
    selects: int  # bytes of the largest array that is selected between two


def of_iteration(program: hlo.Program) -> list[Launch]:
    """Launches of one pass of a program's main loop, the one with the largest state.

    Of a conditional, only the branch for false is counted, in which target parameters
    are not refreshed.
    """
    loops = [
        one for one in program.computations[program.entry] if one.opcode == "while"
    ]
    main = max(loops, key=lambda one: one.bytes)
    return list(_launches(program, main.attribute("body"), 1))


def _launches(program: hlo.Program, name: str, times: int) -> Iterator[Launch]:
    body = program.computations[name]
    sizes = {one.name: one.bytes for one in body}
    for one in body:
        if one.opcode in FREE or one.opcode.endswith("-done"):
            continue
        if one.opcode == "while":
            inner = times * _passes(one)
            yield from _launches(program, one.attribute("condition"), inner)
            yield from _launches(program, one.attribute("body"), inner)
        elif one.opcode == "conditional":
            yield _launch(program, one, "condition", 0, times)
            yield from _launches(program, _usual_branch(one), times)
        elif one.opcode in ("call", "async-start"):
            called = one.attribute("to_apply") or one.attribute("calls")
            yield from _launches(program, called, times)
        elif one.opcode in ("fusion", "fusion-start"):
            inside = program.computations[one.attribute("calls")]
            yield _launch(
                program, one, _kind(one, inside), fusion_bytes(inside), times, inside
            )
        elif one.opcode == "copy":
            yield _launch(program, one, "copy", 2 * one.bytes, times)
        elif one.opcode == "copy-start":  # (destination, source, context)
            yield _launch(program, one, "copy", 2 * sizes[one.operands[0]], times)
        else:
            kind = one.attribute("custom_call_target") or one.opcode
            moved = one.bytes + sum(sizes.get(name, 0) for name in one.operands)
            yield _launch(program, one, kind, moved, times)


def _passes(loop: hlo.Instruction) -> int:
    """The number of passes of an inner loop.

    Raises:
        ValueError: if the program does not tell.
    """
    passes = re.search(r"known_trip_count\D*(\d+)", loop.attributes)
    if passes is None:
        raise ValueError(f"the number of passes of {loop.name} is unknown")
    return int(passes[1])


def _launch(
    program: hlo.Program,
    one: hlo.Instruction,
    kind: str,
    moved: int,
    times: int,
    inside: list[hlo.Instruction] | None = None,
) -> Launch:
    selects = [i.bytes for i in inside or () if i.opcode == "select"]
    part = part_of(program.stack(one))
    if part == OTHER and inside:  # a fusion may have no line of its own
        parts = collections.Counter(part_of(program.stack(i)) for i in inside)
        del parts[OTHER]
        part = parts.most_common(1)[0][0] if parts else OTHER
    shape = re.sub(r"\{[^}]*\}|/\*[^*]*\*/|\s", "", one.shape)
    return Launch(one.name, kind, moved, times, part, shape, max(selects, default=0))


def part_of(stack: list[hlo.Frame]) -> str:
    """The part of the loop to which a stack of calls belongs."""
    for part, file, function in PARTS:
        if any(
            file in frame.file and function in ("", frame.function) for frame in stack
        ):
            return part
    inside_loop = any("jaxq/training/loop.py" in frame.file for frame in stack)
    return "loop" if inside_loop else OTHER


def _usual_branch(one: hlo.Instruction) -> str:
    listed = re.search(r"branch_computations=\{([^}]*)\}", one.attributes)
    if listed:
        return re.findall(r"[\w.\-]+", listed[1])[0]
    return one.attribute("false_computation")


def _kind(one: hlo.Instruction, inside: list[hlo.Instruction]) -> str:
    backend = re.search(r'"kind":"(__\w+)"', one.attributes)
    if backend:
        return "product" if "gemm" in backend[1] else "triton"
    if any(i.opcode == "scatter" for i in inside):
        return "scatter"
    kinds = {"kLoop": "loop", "kInput": "reduction", "kCustom": "custom"}
    kind = one.attribute("kind")
    return kinds.get(kind, kind)


def fusion_bytes(body: list[hlo.Instruction]) -> int:
    """Bytes that a fused kernel reads and writes at least."""
    users = collections.defaultdict(list)
    for one in body:
        for position, operand in enumerate(one.operands):
            users[operand].append((one, position))
    read = sum(_read(one, users) for one in body if one.opcode == "parameter")
    root = next(one for one in body if one.is_root)
    return read + _written(root, {one.name: one for one in body})


def _read(
    parameter: hlo.Instruction,
    users: dict[str, list[tuple[hlo.Instruction, int]]],
) -> int:
    """Bytes of a parameter that are read."""

    def seen(name: str) -> Iterator[tuple[hlo.Instruction, int]]:
        for user, position in users[name]:
            if user.opcode in VIEWS and users[user.name]:
                yield from seen(user.name)
            else:
                yield user, position

    total = 0
    for user, position in seen(parameter.name):
        if user.opcode in SLICES and position == 0:
            total += user.bytes
        elif user.opcode in IN_PLACE and position == 0:
            continue
        elif user.opcode != "tuple":
            return parameter.bytes
    return min(total, parameter.bytes)


def _written(one: hlo.Instruction, body: dict[str, hlo.Instruction]) -> int:
    """Bytes of a result that are written."""
    if one.opcode == "tuple":
        return sum(_written(body[name], body) for name in one.operands)
    updated = one
    while updated.opcode in VIEWS and updated.operands[0] in body:
        updated = body[updated.operands[0]]
    if updated.opcode == "dynamic-update-slice":
        return body[updated.operands[1]].bytes
    if updated.opcode == "scatter":  # (arrays, indices, as many updates)
        arrays = len(updated.operands) // 2
        return sum(body[update].bytes for update in updated.operands[-arrays:])
    return one.bytes
