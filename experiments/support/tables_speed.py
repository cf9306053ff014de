"""Generated tables of speed and memory."""

import json
import statistics
from typing import Any

from experiments import scaling, side_by_side, throughput
from experiments.support.provenance import ROOT, commit, load, made_with


def measurements(name: str, *order: str) -> list[dict[str, Any]]:
    """Read the measurements in a file, sorted by the given fields."""
    text = (ROOT / "results" / "throughput" / f"{name}.jsonl").read_text(
        encoding="utf-8"
    )
    lines = map(json.loads, text.splitlines())
    return sorted(lines, key=lambda line: [line[field] for field in order])


def speed() -> str:
    """Rates on a GPU."""
    lines = measurements("h100", "workload", "seeds")
    table = [
        "| workload | seeds | environment steps/s | updates/s | spread | device memory "
        "| time to first chunk |",
        "| --- |" + " --- |" * 6,
    ]
    for line in lines:
        table.append(
            f"| `{line['workload']}` | {line['seeds']:,} "
            f"| {line['steps_per_second']:,.0f} | {line['updates_per_second']:,.0f} "
            f"| {throughput.spread(line)} "
            f"| {line['peak_device_bytes'] / 1e9:.2f} GB "
            f"| {line['seconds_to_first_chunk']:.0f} s |"
        )
    made = made_with(line["manifest"] for line in lines)
    return "\n".join([*table, "", f"{made}."])


def beside_rejax() -> str:
    """Rates of jaxq and Rejax, measured alternately."""
    lines = measurements("side_by_side")
    order = {name: i for i, name in enumerate(side_by_side.PEER_CHUNK)}
    lines.sort(key=lambda line: (order[line["workload"]], line["seeds"]))
    table = [
        "| workload | seeds | jaxq, steps/s | Rejax, steps/s | ratio of medians "
        "| spread | time to first chunk | commit |",
        "| --- |" + " --- |" * 7,
    ]
    for line in lines:
        table.append(f"{side_by_side.row(line)} {commit(line['about']['jaxq'])} |")
    ours = made_with(line["about"]["jaxq"] for line in lines)
    theirs = lines[0]["about"]["rejax"]["versions"]
    alternations = sorted({len(line["steps_per_second"]["jaxq"]) for line in lines})
    made = (
        f"Medians over {' or '.join(map(str, alternations))} alternations; the spread "
        f"is the range divided by the median. {ours}; Rejax {theirs['rejax']} "
        f"with jax {theirs['jax']}, gymnax {theirs['gymnax']}."
    )
    return "\n".join([*table, "", made])


NAMES = {
    "w1_classic": "DQN, CartPole-v1, an update per step",
    "w1_harm": "DQN, CartPole-v1, an update per 10 steps",
    "w2": "DQN, Breakout-MinAtar, an update per step",
    "w3_rejax": "PQN, CartPole-v1",
    "w3_breakout": "PQN, Breakout-MinAtar",
}
SHOWN = (("w1_classic", 8), ("w1_harm", 8), ("w2", 16), ("w3_rejax", 4),
         ("w3_breakout", 4))  # fmt: skip
SHOWN_ON_GPU = (("w1_classic", 1024), ("w2", 128))


def speed_small() -> str:
    """A few representative rates: relative to Rejax on CPU, and on one GPU."""
    table = [
        "| workload | device | seeds | jaxq, steps/s | Rejax, steps/s | ratio |",
        "| --- |" + " --- |" * 5,
    ]
    beside = {
        (line["workload"], line["seeds"]): line for line in measurements("side_by_side")
    }
    for line in map(beside.__getitem__, SHOWN):
        rates = (
            f"{statistics.median(rates):,.0f}"
            for rates in line["steps_per_second"].values()
        )
        table.append(
            f"| {NAMES[line['workload']]} "
            f"| {line['about']['jaxq']['cpu_count']} CPU cores | {line['seeds']} "
            f"| {' | '.join(rates)} | {line['ratio']:.1f} |"
        )
    gpu = {(line["workload"], line["seeds"]): line for line in measurements("h100")}
    for line in map(gpu.__getitem__, SHOWN_ON_GPU):
        device = line["manifest"]["devices"][0].removeprefix("NVIDIA ").split()[0]
        table.append(
            f"| {NAMES[line['workload']]} | 1 {device} | {line['seeds']:,} "
            f"| {line['steps_per_second']:,.0f} | | |"
        )
    return "\n".join(table)


def growth() -> str:
    """Rates on a CPU for different numbers of seeds and sizes of the buffer."""
    lines = measurements("cpu", "workload", "buffer_size", "seeds")
    table = [
        "| workload | buffer | seeds | steps/s | spread | memory |",
        "| --- |" + " --- |" * 5,
    ]
    for line in lines:
        table.append(
            f"| `{line['workload']}` | {line['buffer_size']:,} | {line['seeds']:,} "
            f"| {line['steps_per_second']:,.0f} "
            f"| {throughput.spread(line)} "
            f"| {line['peak_host_bytes'] / 1e9:.2f} GB |"
        )
    made = made_with(line["manifest"] for line in lines)
    return "\n".join([*table, "", f"{made}."])


def scaling_table() -> str:
    """Cost of sweep members relative to plain seeds, and scaling over devices."""
    result = load("throughput", "scaling.json")
    return f"{scaling.table(result)}\n\n{made_with([result['manifest']])}."


def kernels() -> str:
    """Launches and bytes of an iteration on an H100, as compiled."""
    lines = measurements("kernels")
    table = [
        "| workload | seeds | launches | MB | floor, MB | ratio | network | optimizer "
        "| acting | environment | rest |",
        "| --- |" + " --- |" * 10,
    ]
    for line in lines:
        parts = {name: size / 1e6 for name, (_, size) in line["parts"].items()}
        total = line["bytes"] / 1e6
        named = [
            parts.get(name, 0.0)
            for name in ("network", "optimizer", "acting", "environment")
        ]
        sizes = [total, line["floor"] / 1e6]
        table.append(
            f"| `{line['workload']}` | {line['seeds']} | {line['launches']:,} | "
            + " | ".join(f"{size:,.0f}" for size in sizes)
            + f" | {line['bytes'] / line['floor']:.2f} | "
            + " | ".join(f"{size:,.1f}" for size in [*named, total - sum(named)])
            + " |"
        )
    versions = sorted({line["jax"] for line in lines})
    made = f"Compiled for an H100 with jax {' and '.join(versions)}; MB by part."
    return "\n".join([*table, "", made])
