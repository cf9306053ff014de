"""Two figures from Sutton and Barto's textbook, thousands of runs in one program.

Maximisation bias (Example 6.7): how often Q-learning and Double Q-learning take the
worse action, over 10,000 runs. Cliff walking (Example 6.6, Figure 6.3): the return of
Q-learning, SARSA and Expected SARSA for ten step sizes, over the first 100 episodes,
the first 1,000, and episodes 1,001 to 1,500. Both are compared with the numbers in
results/published/sutton_barto_tabular.json.
"""

import dataclasses
import json
import pathlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.support import first_episodes
from jaxq import Config, cli
from jaxq.config import command_line, flags
from jaxq.runs import matplotlib_check

if TYPE_CHECKING:
    import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent / "results"

# The book's settings: gamma = 1, epsilon = 0.1, one environment, an update after every
# step.
BOOK = Config(
    defaults="plain",
    num_envs=1,
    rollout_length=1,
    discount=1.0,
    learning_rate=0.1,
    epsilon_start=0.1,
    epsilon_end=0.1,
    eval_points=1,
)
METHODS = {"q": "tabular_q", "sarsa": "sarsa", "expsarsa": "expected_sarsa"}
STEP_SIZES = tuple(i / 10 for i in range(1, 11))


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command-line arguments."""

    bias_runs: int = 10_000
    """Number of runs on the maximisation-bias MDP."""
    cliff_runs: int = 500
    """Number of cliff-walking runs of 100 episodes, per step size."""
    long_runs: int = 20
    """Number of cliff-walking runs of 1,500 episodes, per step size."""
    output: pathlib.Path = ROOT
    """Directory in which to write figures/ and tables/."""


class Episodes(NamedTuple):
    """Episodes of runs with several step sizes; [rates, runs, episodes]."""

    actions: "np.ndarray"  # the first of each episode
    returns: "np.ndarray"
    lengths: "np.ndarray"


def play(
    config: Config, environment: str, rates: "np.ndarray", runs: int, episodes: int
) -> Episodes:
    """Train many runs for each of several step sizes, for a number of episodes."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxq.training.pytree_arrays import seed_axes

    total = rates.size * runs
    start, advance = programs(dataclasses.replace(config, environment=environment))
    keys = jax.vmap(jax.random.key)(jnp.arange(total))
    rate = jnp.repeat(jnp.asarray(rates, jnp.float32), runs)
    axes = seed_axes(jax.eval_shape(start, keys[0]))
    state = jax.jit(jax.vmap(start, out_axes=axes))(keys)
    chunk = jax.jit(jax.vmap(advance, in_axes=(0, 0, axes), out_axes=(axes, 0)))
    record = first_episodes.FirstEpisodes(total, episodes)
    while not record.complete:
        state, steps = chunk(rate, keys, state)
        record.add(*map(np.asarray, steps))
    shape = (rates.size, runs, episodes)
    arrays = record.actions, record.returns, record.lengths
    return Episodes(*(array.reshape(shape) for array in arrays))


def programs(config: Config) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Functions of one run: start(key) -> state, advance(rate, key, state) -> state, x.

    `x` holds the action, the reward and the end-of-episode flag of 300 steps.
    """
    import jax
    import jax.numpy as jnp

    from jaxq.agents import algorithms
    from jaxq.config import loop_lengths
    from jaxq.envs import make
    from jaxq.training import compiled, loop

    env, lengths = make.from_config(config), loop_lengths.loop_lengths(config)
    traced = compiled.traced(config)

    def start(key: Any) -> loop.RunState:
        return loop.init(key, algorithms.make(traced, env.spec), env, 1)

    def advance(rate: Any, key: Any, state: loop.RunState) -> Any:
        settings = dataclasses.replace(traced, learning_rate=rate)

        def iterate(state: loop.RunState, _: None) -> Any:
            state, step = loop.iteration(settings, lengths, env, key, state)
            assert step is not None
            done = step.terminated | step.truncated
            record = step.action.astype(jnp.uint8), step.reward, done
            return state, jax.tree.map(lambda leaf: leaf[0, 0], record)

        return jax.lax.scan(iterate, state, None, length=300)

    return start, advance


def mean_and_error(values: "np.ndarray") -> tuple["np.ndarray", "np.ndarray"]:
    """Mean and standard error over the first axis."""
    return values.mean(axis=0), values.std(axis=0, ddof=1) / len(values) ** 0.5


def maximization_bias(
    arguments: Arguments, published: dict[str, Any]
) -> dict[str, Any]:
    """Share of runs that go left in each episode, and its deviation from the book's."""
    import numpy as np

    table: dict[str, Any] = {"runs": arguments.bias_runs}
    for name, algorithm in {"q": "tabular_q", "double_q": "double_q_learning"}.items():
        config = dataclasses.replace(BOOK, algorithm=algorithm)
        start_time = time.monotonic()
        episodes = play(
            config, "MaximizationBias", np.array([0.1]), arguments.bias_runs, 300
        )
        left, error = mean_and_error((episodes.actions[0] == 0).astype(float))
        theirs = published["maximization_bias"][name]
        spread = np.hypot(np.maximum(error, 1e-3), theirs["se"])
        score = (left - np.array(theirs["left"])) / spread
        table[name] = {
            "left": left,
            "se": error,
            "largest_score": np.abs(score).max(),
            "largest_score_every_tenth": np.abs(score[9::10]).max(),
            "root_mean_square_score": (score**2).mean() ** 0.5,
            "seconds": time.monotonic() - start_time,
        }
    return table


def cliff(arguments: Arguments, published: dict[str, Any]) -> dict[str, Any]:
    """Returns of early and late episodes for every step size, ours and published."""
    table: dict[str, Any] = {
        "runs": arguments.cliff_runs,
        "long_runs": arguments.long_runs,
        "step_sizes": STEP_SIZES,
    }
    for name in METHODS:
        table[name] = cliff_returns(name, arguments)
        compare_with_published(name, table[name], published)
    return table


def cliff_returns(name: str, arguments: Arguments) -> dict[str, Any]:
    """Mean returns of one method over several spans of episodes, and the seconds."""
    import numpy as np

    config = dataclasses.replace(BOOK, algorithm=METHODS[name])
    start_time = time.monotonic()
    rates = np.array(STEP_SIZES)
    first = play(config, "CliffWalking", rates, arguments.cliff_runs, 100).returns
    long = play(config, "CliffWalking", rates, arguments.long_runs, 1_500).returns
    returns: dict[str, Any] = {"seconds": time.monotonic() - start_time}
    spans = {
        "interim": first,
        "first_1000": long[:, :, :1000],
        "end": long[:, :, 1000:],
    }
    for span, values in spans.items():
        mean, error = mean_and_error(values.mean(axis=2).T)
        returns[span] = {"mean": mean, "se": error}
    return returns


def compare_with_published(
    name: str, returns: dict[str, Any], published: dict[str, Any]
) -> None:
    """Add the deviations from the published returns of one method to `returns`."""
    import numpy as np

    simulated = published["cliff_interim"]["mean_and_se"]
    theirs = np.array([simulated[f"{name}/{rate}"] for rate in STEP_SIZES])
    interim = returns["interim"]
    score = (interim["mean"] - theirs[:, 0]) / np.hypot(interim["se"], theirs[:, 1])
    interim["largest_score"] = np.abs(score).max()
    interim["score"] = score
    digitised = published["cliff_first_1000_digitised"]
    label = {"q": "Q-learning", "sarsa": "Sarsa", "expsarsa": "Expected Sarsa"}[name]
    plotted = np.array([digitised[label][str(a)] for a in STEP_SIZES])
    difference = np.abs(returns["first_1000"]["mean"] - plotted)
    returns["first_1000"]["difference_from_digitised"] = difference


def main() -> None:
    """Run both experiments, compare, and write the table and the figure."""
    arguments = command_line.read(Arguments, __doc__)
    matplotlib_check.check_matplotlib()
    cli.set_up_jax(flags.Options())
    import jax

    from experiments.support import textbook_figure
    from jaxq.runs import files, manifest

    published = json.loads(
        (ROOT / "published/sutton_barto_tabular.json").read_text(encoding="utf-8")
    )
    bias = maximization_bias(arguments, published)
    walk = cliff(arguments, published)
    for name in ("figures", "tables"):
        (arguments.output / name).mkdir(parents=True, exist_ok=True)
    record = manifest.collect("textbook", jax.devices()[:1], arguments.bias_runs)
    table = {"maximization_bias": bias, "cliff": walk, "manifest": record}
    files.write_json(arguments.output / "tables" / "textbook.json", table)
    path = arguments.output / "figures" / "textbook.png"
    textbook_figure.draw(path, bias, walk, published)
    print_summary(bias, walk)


def print_summary(bias: dict[str, Any], walk: dict[str, Any]) -> None:
    """Print one line per method and figure."""
    for name in ("q", "double_q"):
        print(
            f"maximisation bias, {name}: {100 * bias[name]['left'][-1]:.1f} % left at "
            f"the end, largest |z| over every tenth episode "
            f"{bias[name]['largest_score_every_tenth']:.2f}, "
            f"{bias[name]['seconds']:.1f} s"
        )
    for name in METHODS:
        row = walk[name]
        print(
            f"cliff, {name}: step size 0.5: first 100 episodes "
            f"{row['interim']['mean'][4]:.1f}, end {row['end']['mean'][4]:.1f}; "
            f"largest |z| {row['interim']['largest_score']:.2f}, "
            f"{row['seconds']:.1f} s"
        )


if __name__ == "__main__":
    with cli.exit_codes():
        main()
