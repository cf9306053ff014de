"""A tour of jaxq from Python, in a minute: train, look, act, ablate, sweep, extend.

The cells marked %% run one by one in an editor or, through jupytext, as a notebook:

    jupytext --to notebook experiments/tour.py

It takes no option but --help.
"""

# %%
import sys

if {"-h", "--help"} & set(sys.argv):
    print(__doc__)
    sys.exit()

# %% [markdown]
# ## Train
# A `Config` holds everything that affects results. Fields that are not given come from
# the algorithm and from the settings for the environment. The seeds train together.

# %%
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from jaxq import Config, adapt, load, register, run, sweep
from jaxq.envs import make

small: dict[str, Any] = {
    "num_seeds": 4,
    "total_steps": 20_000,
    "warmup_steps": 1000,
    "epsilon_steps": 8000.0,
}
config = Config(environment="CartPole-v1", algorithm="dqn", **small)
result = run(config)
print(result)

# %% [markdown]
# ## Look
# The curve has a row for every seed and a column for every point.

# %%
curve = result.curve
plt.plot(curve.steps, curve.eval_return.T, color="tab:blue", alpha=0.5)
plt.xlabel("environment steps per seed")
plt.ylabel("return of the greedy policy")
print("final returns", np.round(curve.eval_return[:, -1], 1))

# %% [markdown]
# ## Act
# A policy is a pytree, so it goes through `jit` and `vmap`. It plays 100 episodes here
# at once, in environments that are themselves pure functions.

# %%
policy, env = load(result), make.make("CartPole-v1")
print(policy)


# %%
def episode(key):
    """The return of one episode."""
    reset_key, play_key = jax.random.split(key)

    def step(carry, key):
        state, alive = carry
        act_key, env_key = jax.random.split(key)
        action = policy.act(act_key, state.observation)
        state, step = env.step(env_key, state, action)
        return (state, alive & ~(step.terminated | step.truncated)), step.reward * alive

    start = env.reset(reset_key), jnp.bool_(True)
    _, rewards = jax.lax.scan(step, start, jax.random.split(play_key, 500))
    return rewards.sum()


returns = jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), 100))
print(f"100 episodes: {returns.mean():.1f} +- {returns.std():.1f}")

# %% [markdown]
# ## Ablate
# Components combine: a field that is given wins over the algorithm's own.

# %%
quantiles = Config(
    environment="CartPole-v1", head="quantile", num_quantiles=16, **small
)
final = run(quantiles).curve.eval_return[:, -1]
print("with quantiles", np.round(final, 1))

# %% [markdown]
# ## Sweep
# A learning rate is a traced field: all values and seeds share one compiled program.

# %%
swept = sweep(config, {"learning_rate": [1e-4, 1e-3, 1e-2]})
print(swept)

# %% [markdown]
# ## A loss of one's own
# An algorithm composes a network, a loss and a store, and is registered by its name.

# %%
from jaxq.agents import algorithms, factory, replay_agent  # noqa: E402
from jaxq.rl import losses  # noqa: E402


@register
def clipped_double_dqn(config, spec):
    """DQN whose target is the smaller of the two networks' values."""
    network = factory.make_networks(config, spec).online

    def loss(key, params, target_params, transition):
        successor = transition.next_observation
        both = [network.apply(None, p, successor) for p in (params, target_params)]
        next_output = jnp.minimum(*both).max(axis=0)
        target = network.head.backup(
            transition.reward, transition.discount, next_output
        )
        outputs = network.apply(key, params, transition.observation)
        return losses.compare(network.head, outputs, transition.action, target)

    store = algorithms.make_store(config, spec)
    return replay_agent.replay_agent(network, network, loss, store, config)


mine = Config(environment="CartPole-v1", algorithm="clipped_double_dqn", **small)
print(run(mine))


# %% [markdown]
# ## An environment of one's own
# It has gymnax's interface. Its observation may hold a mask of the valid actions.


# %%
class Staircase:
    """Ten steps up. In each state one of three actions is the next step, at random.

    The others stay where they are, and one of those is not valid.
    """

    default_params = None

    def action_space(self, params):
        """Three actions."""
        return type("Actions", (), {"n": 3})

    def _observe(self, state):
        place, up = state
        mask = jnp.arange(3) != (up + 1) % 3
        features = jnp.append(jax.nn.one_hot(up, 3), place / 10)
        return {"observation": features, "action_mask": mask}

    def reset(self, key, params):
        """The bottom of the stairs."""
        state = jnp.int32(0), jax.random.randint(key, (), 0, 3)
        return self._observe(state), state

    def step(self, key, state, action, params):
        """One action; a reward of 1 at the top, and the bottom again after it."""
        step_key, reset_key = jax.random.split(key)
        place, up = state
        place = place + (action == up)
        climbed = place, jax.random.randint(step_key, (), 0, 3)
        top = place == 10
        observation, state = jax.tree.map(
            lambda new, old: jnp.where(top, new, old),
            self.reset(reset_key, params),
            (self._observe(climbed), climbed),
        )
        info = {"final_observation": self._observe(climbed)}
        return observation, state, jnp.float32(top), top, jnp.bool_(False), info


stairs = run(Config(**small, eval_max_steps=100), environment=adapt(Staircase()))
print("steps to the top", np.round(stairs.curve.eval_length[:, -1], 1))
