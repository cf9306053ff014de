"""Fields without effect: by the table, or by what an algorithm of a user's own reads.

The fields that the algorithms of jaxq read are in `jaxq.config.field_usage`. An
algorithm of a user's own is traced once with a configuration that records which of its
fields are read.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxq.agents import algorithms
from jaxq.config import algorithm_table, field_usage, loop_lengths, usage_table
from jaxq.config.config import Config, given
from jaxq.config.fields import ConfigError
from jaxq.networks import torsos
from jaxq.replay import ring, stores
from jaxq.types import EnvSpec, Key, PyTree, Step, unmasked
from jaxq.xla import prng

DEFAULTS = {field.name: field.default for field in dataclasses.fields(Config)}
FIELDS = frozenset(DEFAULTS)
LOOP_FIELDS = {name for usage in usage_table.LOOP_USAGE for name in usage.fields}
# Also read by code that all agents share: an algorithm honours a changed field on the
# left only if it reads one of those on the right as well, while it is made.
EVIDENCE = {
    "head": ("num_atoms", "num_quantiles", "quantile_samples"),
    "noisy": ("noisy_sigma",),
    "shared_noise": ("noisy_sigma",),
    "recurrent": ("memory_size",),
    "return_estimator": ("trace_decay",),
    "spr_steps": ("spr_weight",),
}


def without_effect(config: Config, spec: EnvSpec) -> dict[str, str]:
    """Fields that have no effect on an environment, with the reason.

    Args:
        config: the configuration.
        spec: of the environment; it decides the torso of network = "auto".
    """
    config = with_torso(config, spec)
    unused = field_usage.unused(config)
    if not _is_own(config):
        return {name: field_usage.reason(name, config) for name in unused}
    known = {n: field_usage.reason(n, config) for n in unused if n in LOOP_FIELDS}
    ignored = FIELDS - LOOP_FIELDS - honoured(config, spec)
    return known | {
        name: f"algorithm = {config.algorithm!r} does not read it" for name in ignored
    }


def notes(config: Config, spec: EnvSpec, names: Iterable[str]) -> list[str]:
    """A sentence for every field of `names` that has no effect."""
    reasons = without_effect(config, spec)
    return [
        f"{name} has no effect: {reasons[name]}" for name in names if name in reasons
    ]


def check_honoured(config: Config, spec: EnvSpec) -> None:
    """Raise if a registered algorithm does not read a field that was changed.

    Parameters of a part that is switched off are not an error; see `without_effect`.

    Raises:
        ConfigError: with the fields and their values.
    """
    if not _is_own(config):
        return
    needed = field_usage.read(with_torso(config, spec), usage_table.AGENT_USAGE)
    changed = {
        name: getattr(config, name)
        for name in sorted(needed & given(config))
        if getattr(config, name) != DEFAULTS[name]
    }
    ignored = changed.keys() - honoured(config, spec) if changed else set()
    if ignored:
        values = ", ".join(f"{k} = {v!r}" for k, v in changed.items() if k in ignored)
        raise ConfigError(
            f"algorithm = {config.algorithm!r} does not read {values}: results would "
            "be those of the defaults. Leave these fields out, read them in the "
            "algorithm, or declare them with @register(honours=(...))."
        )


def honoured(config: Config, spec: EnvSpec) -> set[str]:
    """Fields that a registered algorithm reads, or declares in `register`."""
    read = fields_read(config, spec)
    unproven = {
        name
        for name, proof in EVIDENCE.items()
        if getattr(config, name) != DEFAULTS[name] and not read.intersection(proof)
    }
    algorithm = algorithms.find(config.algorithm)
    return (read - unproven) | set(algorithms.HONOURED.get(algorithm, ()))


def _is_own(config: Config) -> bool:
    return config.algorithm not in algorithm_table.ALGORITHMS


def with_torso(config: Config, spec: EnvSpec) -> Config:
    """The configuration with the torso that network = "auto" selects."""
    if config.network != "auto":
        return config
    arrays = jax.tree.leaves(unmasked(spec.observation))
    names = {torsos.for_shape(array.shape) for array in arrays}
    if len(names) > 1 or (len(arrays) > 1 and names != {"mlp"}):
        return config  # images go through their torsos, and all through an MLP
    network: Any = names.pop()
    return dataclasses.replace(config, network=network)


def fields_read(config: Config, spec: EnvSpec) -> set[str]:
    """Fields that are read while an agent is made, acts, observes and learns.

    Nothing is compiled. The error of an agent that cannot be traced is raised where the
    agent is used; here it counts as reading all fields but those of `EVIDENCE`.
    """
    recording, read = recorder(config)
    key = jax.eval_shape(lambda: prng.key(0))
    try:
        jax.eval_shape(lambda key: cycle(key, config, recording, spec), key)
    except Exception:  # of the user's code
        return read | FIELDS.difference(*EVIDENCE.values())
    return read


def cycle(key: Key, config: Config, recording: Config, spec: EnvSpec) -> PyTree:
    """Make an agent, act once in every environment, observe a rollout, and learn.

    Args:
        key: used for everything, since only shapes matter.
        config: gives the lengths.
        recording: the same, for the agent.
        spec: of the environment.
    """
    agent = algorithms.make(recording, spec)
    length, num_envs = loop_lengths.loop_lengths(config).rollout_length, config.num_envs
    state = agent.init(key, spec.example())
    memory = agent.initial_memory(key)
    step = spec.example()._replace(memory=memory)
    if agent.act_with_probability is not None:
        step = step._replace(action_probability=jnp.zeros(()))
    rollout = jax.tree.map(
        lambda x: jnp.zeros((length, num_envs, *x.shape), x.dtype), step
    )
    if config.dataset is None:
        state = agent.observe(key, state, rollout)
    else:
        agent = algorithms.make(_with_rows(recording, step, spec), spec)
    agent.act(key, state, memory, step.observation, jnp.float32(0), True)
    return agent.update(key, state, jnp.float32(0))


def _with_rows(config: Config, step: Step, spec: EnvSpec) -> Config:
    """The configuration, with some rows in place of its dataset."""
    rows: Any = ring.init(
        stores.newest_frames(spec, step),
        loop_lengths.window(config) + 2,
        1,
        spec.num_actions,
    )
    return dataclasses.replace(config, dataset=rows)


def recorder(config: Config) -> tuple[Config, set[str]]:
    """A copy of a configuration, and the set to which it adds the fields read.

    `dataclasses.replace` reads every field of the copy, which does not count. Of the
    result, only fields that were not replaced are recorded.
    """
    read: set[str] = set()
    last: tuple[set[str], frozenset[str]] = set(), frozenset()

    class Recorder(Config):
        _replaced: frozenset[str] = frozenset()

        def __init__(self, **fields: Any):
            super().__init__(**fields)
            names = list(fields)
            if "given" in names:  # by `dataclasses.replace`, after its changes
                changes = frozenset(names[: names.index("given")])
                object.__setattr__(self, "_replaced", changes | last[1])
                read.intersection_update(last[0])

        def __getattribute__(self, name: str) -> Any:
            nonlocal last
            if name == "given":  # by `dataclasses.replace`, before all other fields
                last = set(read), self._replaced
            elif name in FIELDS and name not in self._replaced:
                read.add(name)
            return super().__getattribute__(name)

    return Recorder(**{name: getattr(config, name) for name in given(config)}), read
