"""Generated README parts on speed and memory."""

import json
from typing import Any

from experiments import scaling, side_by_side, throughput
from experiments.support.provenance import ROOT, commit, load, made_with


def measurements(name: str, *order: str) -> list[dict[str, Any]]:
    """Read the measurements in a file, sorted by the given fields."""
    text = (ROOT / "results" / "throughput" / f"{name}.jsonl").read_text()
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
