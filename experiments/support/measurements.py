"""Rates and memory of a population of seeds."""

import resource
from typing import Any

import numpy as np

from experiments.support import update_floor
from jaxq import Config
from jaxq.config import loop_lengths
from jaxq.envs import make
from jaxq.runs import manifest
from jaxq.training import memory
from jaxq.training.population import Population


def summarize(
    config: Config, members: Population, steps: int, seconds: list[float]
) -> dict[str, Any]:
    """Rates, memory and provenance of a population after its timed chunks.

    Args:
        config: configuration of the population.
        members: the population.
        steps: environment steps per chunk, summed over seeds.
        seconds: seconds of each timed chunk.
    """
    env = make.from_config(config)
    lengths = loop_lengths.loop_lengths(config)
    experience = memory.estimate(config, env, lengths).experience
    updates_per_seed = lengths.chunk_iterations * lengths.num_updates
    devices = members.devices
    # Read before the floor is measured, which allocates large arrays.
    peak_host = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_device = (devices[0].memory_stats() or {}).get("peak_bytes_in_use")
    floor = update_floor.update_seconds(config, env, devices[0])
    seeds_per_device = config.num_seeds / len(set(devices))
    median = float(np.median(seconds))
    return {
        "steps_per_second": steps / median,
        "steps_per_second_range": [steps / max(seconds), steps / min(seconds)],
        "updates_per_second": updates_per_seed * config.num_seeds / median,
        "share_of_floor": floor * seeds_per_device * updates_per_seed / median,
        "bytes_per_transition": None
        if config.rollout_length
        else experience / (lengths.buffer_rows * config.num_envs),
        "peak_host_bytes": peak_host,
        "peak_device_bytes": peak_device,
        "manifest": manifest.collect(env.spec.name, devices, members.width),
    }
