"""Train Rejax's DQN or PQN on a workload, one chunk per line of the standard input.

Run by ../side_by_side.py with the Python of an environment that holds rejax 0.1.3 and
gymnax 0.0.9; it does not import jaxq. Its one argument is JSON: workload, seeds, and
steps per seed and chunk. It prints a line of JSON when the first chunk is finished,
when its replay buffer is filled, and after each further chunk.
"""

import importlib.metadata
import json
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import rejax
from flax import linen as nn
from rejax.networks import EpsilonGreedyPolicy

DQN: dict[str, Any] = {
    "num_envs": 1, "batch_size": 32, "buffer_size": 10_000, "fill_buffer": 1_000,
    "target_update_freq": 500, "polyak": 0.0, "ddqn": False,
}  # fmt: skip
PQN: dict[str, Any] = {
    "num_envs": 16,
    "num_steps": 128,
    "num_minibatches": 16,
    "num_epochs": 5,
}
WORKLOADS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "w1_classic": ("dqn", "CartPole-v1", DQN),
    "w1_harm": ("dqn", "CartPole-v1", DQN | {"num_envs": 10, "batch_size": 128}),
    "w2": (
        "dqn",
        "Breakout-MinAtar",
        DQN
        | {"buffer_size": 100_000, "fill_buffer": 5_000, "target_update_freq": 1_000},
    ),
    "w3_rejax": ("pqn", "CartPole-v1", PQN),
    "w3_breakout": (
        "pqn",
        "Breakout-MinAtar",
        PQN
        | {"num_envs": 128, "num_steps": 32, "num_minibatches": 32, "num_epochs": 2},
    ),
}


class ConvQNetwork(nn.Module):
    """16 filters of 3 x 3, a dense layer of 128 units, and optional LayerNorm."""

    action_dim: int
    norm: bool = False

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """Values of all actions; observation: [B, H, W, C]."""

        def activate(x: jax.Array) -> jax.Array:
            return nn.relu(nn.LayerNorm()(x) if self.norm else x)

        x = activate(nn.Conv(16, (3, 3), padding="VALID")(observation.astype(float)))
        x = activate(nn.Dense(128)(x.reshape(x.shape[0], -1)))
        return nn.Dense(self.action_dim)(x)

    def take(self, observation: jax.Array, action: jax.Array) -> jax.Array:
        """Values of the actions taken; [B]."""
        values = self(observation)
        return jnp.take_along_axis(values, action[:, None], axis=1).squeeze(axis=1)


def main() -> None:
    """Serve chunks until the input ends."""
    request = json.loads(sys.argv[1])
    name, env, fields = WORKLOADS[request["workload"]]
    if name == "dqn":
        fields = fields | {"agent_kwargs": {"activation": "relu"}}
    steps = request["steps"]
    algorithm = rejax.get_algo(name).create(
        env=env, total_timesteps=steps, eval_freq=steps,
        skip_initial_evaluation=True, learning_rate=2.5e-4, **fields,
    )  # fmt: skip
    # Training alone is compared.
    algorithm = algorithm.replace(eval_callback=lambda algorithm, state, key: ())
    if env == "Breakout-MinAtar":
        net = EpsilonGreedyPolicy(ConvQNetwork)
        agent = net(action_dim=algorithm.action_dim, norm=name == "pqn")
        algorithm = algorithm.replace(agent=agent)

    keys = jax.random.split(jax.random.key(0), request["seeds"])
    states = jax.jit(jax.vmap(algorithm.init_state))(keys)
    train = jax.jit(
        jax.vmap(lambda state: algorithm.train(train_state=state)[0]),
        donate_argnums=0,
    )
    states = jax.block_until_ready(train(states))
    packages = ("rejax", "jax", "gymnax", "flax", "optax")
    answer({"versions": {name: importlib.metadata.version(name) for name in packages}})
    if name == "dqn":
        for _ in range(-(-fields["fill_buffer"] // steps)):
            states = jax.block_until_ready(train(states))
    answer({})
    for _ in sys.stdin:
        before = time.monotonic()
        states = jax.block_until_ready(train(states))
        seconds = time.monotonic() - before
        answer({"steps": steps * request["seeds"], "seconds": seconds})


def answer(line: dict[str, Any]) -> None:
    """Print a line of JSON at once."""
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
