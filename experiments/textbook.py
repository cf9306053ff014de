"""Two figures of Sutton and Barto's textbook, thousands of runs in one program.

Maximisation bias (Example 6.7): how often Q-learning and Double Q-learning take the
worse action, over 10,000 runs. Cliff walking (Example 6.6, Figure 6.3): the return of
Q-learning, SARSA and Expected SARSA over the first 100 and the first 1,000 episodes,
and after them, for ten step sizes. Both are compared with
results/published/sutton_barto_tabular.json.
"""

import dataclasses
import json
import pathlib
import time
from typing import TYPE_CHECKING, Any

import tyro

from jaxq import cli
from jaxq.config import flags, presets
from jaxq.config.config import Config

if TYPE_CHECKING:
    import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent / "results"

# The book's settings: gamma = 1, epsilon = 0.1, one environment, every step at once.
BOOK = Config(
    num_envs=1,
    rollout_length=1,
    discount=1.0,
    learning_rate=0.1,
    epsilon_start=0.1,
    epsilon_end=0.1,
    eval_points=1,
)
METHODS = {
    "q": "tabular_q",
    "sarsa": "sarsa",
    "expsarsa": "expected_sarsa",
}
STEP_SIZES = tuple(i / 10 for i in range(1, 11))


@dataclasses.dataclass(frozen=True)
class Arguments:
    """How much to run and where to write."""

    bias_runs: int = 10_000
    """Runs of the maximisation bias."""
    cliff_runs: int = 500
    """Runs of the first 100 episodes of cliff walking, for every step size."""
    long_runs: int = 20
    """Runs of 1,500 episodes of cliff walking, for every step size."""
    output: pathlib.Path = ROOT
    """Directory of figures/ and tables/."""


def play(
    config: Config, environment: str, rates: "np.ndarray", runs: int, episodes: int
) -> tuple["np.ndarray", "np.ndarray"]:
    """Play some episodes in many runs for each of several step sizes.

    Returns:
        The first action and the return of every episode, [rates, runs, episodes].
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxq.agents import algorithms
    from jaxq.envs import make
    from jaxq.training import compiled, loop
    from jaxq.types import seed_axes

    config = presets.compose(dataclasses.replace(config, environment=environment))
    env = make.from_config(config)
    traced = compiled.traced(config)

    def start(key: Any) -> loop.RunState:
        return loop.init(key, algorithms.make(traced, env.spec), env, 1)

    def advance(rate: Any, key: Any, state: loop.RunState) -> Any:
        settings = dataclasses.replace(traced, learning_rate=rate)

        def step(state: loop.RunState, _: None) -> Any:
            state, said = loop.iteration(settings, env, key, state)
            done = said.terminated | said.truncated
            small = said.action.astype(jnp.uint8), said.reward, done
            return state, jax.tree.map(lambda leaf: leaf[0, 0], small)

        return jax.lax.scan(step, state, None, length=300)

    total = rates.size * runs
    keys = jax.vmap(jax.random.key)(jnp.arange(total))
    rate = jnp.repeat(jnp.asarray(rates, jnp.float32), runs)
    axes = seed_axes(jax.eval_shape(start, keys[0]))
    state = jax.jit(jax.vmap(start, out_axes=axes))(keys)
    chunk = jax.jit(jax.vmap(advance, in_axes=(0, 0, axes), out_axes=(axes, 0)))
    actions, returns = np.zeros((2, total, episodes))
    fresh = np.ones((total, 1), bool)  # whether an episode begins
    begun = np.zeros((total, 1), int)  # episodes finished before
    run = np.arange(total)[:, None]
    while begun.min() < episodes:
        state, said = chunk(rate, keys, state)
        action, reward, done = map(np.asarray, said)
        index = begun + np.cumsum(done, axis=1) - done
        first = np.concatenate([fresh, done[:, :-1]], axis=1)
        counts = index < episodes
        place = (run * episodes + np.minimum(index, episodes - 1))[counts]
        sums = np.bincount(place, reward[counts], total * episodes)
        returns += sums.reshape(total, episodes)
        actions.reshape(-1)[place[first[counts]]] = action[counts & first]
        fresh, begun = done[:, -1:], index[:, -1:] + done[:, -1:]
    shape = (rates.size, runs, episodes)
    return actions.reshape(shape), returns.reshape(shape)


def mean_and_error(values: "np.ndarray") -> tuple["np.ndarray", "np.ndarray"]:
    """Mean over the first axis, and its standard error."""
    return values.mean(axis=0), values.std(axis=0, ddof=1) / len(values) ** 0.5


def maximization_bias(arguments: Arguments, published: dict[str, Any]) -> dict:
    """Share of runs that go left, episode by episode."""
    import numpy as np

    table: dict[str, Any] = {"runs": arguments.bias_runs}
    for name, algorithm in {"q": "tabular_q", "double_q": "double_q_learning"}.items():
        config = dataclasses.replace(BOOK, algorithm=algorithm)
        began = time.monotonic()
        actions, _ = play(
            config, "MaximizationBias", np.array([0.1]), arguments.bias_runs, 300
        )
        left, error = mean_and_error((actions[0] == 0).astype(float))
        theirs = published["maximization_bias"][name]
        spread = np.hypot(np.maximum(error, 1e-3), theirs["se"])
        score = (left - np.array(theirs["left"])) / spread
        table[name] = {
            "left": left,
            "se": error,
            "largest_score": np.abs(score).max(),
            "largest_score_every_tenth": np.abs(score[9::10]).max(),
            "root_mean_square_score": (score**2).mean() ** 0.5,
            "seconds": time.monotonic() - began,
        }
    return table


def cliff(arguments: Arguments, published: dict[str, Any]) -> dict[str, Any]:
    """Returns in the beginning and in the end, for every step size."""
    import numpy as np

    table: dict[str, Any] = {
        "runs": arguments.cliff_runs,
        "long_runs": arguments.long_runs,
        "step_sizes": STEP_SIZES,
    }
    digitised = published["cliff_first_1000_digitised"]
    labels = {"q": "Q-learning", "sarsa": "Sarsa", "expsarsa": "Expected Sarsa"}
    for name, algorithm in METHODS.items():
        config = dataclasses.replace(BOOK, algorithm=algorithm)
        began = time.monotonic()
        rates = np.array(STEP_SIZES)
        _, first = play(config, "CliffWalking", rates, arguments.cliff_runs, 100)
        _, more = play(config, "CliffWalking", rates, arguments.long_runs, 1_500)
        table[name] = {"seconds": time.monotonic() - began}
        spans = {"interim": first, "first_1000": more[:, :, :1000]}
        spans["end"] = more[:, :, 1000:]
        for span, values in spans.items():
            mean, error = mean_and_error(values.mean(axis=2).T)
            table[name][span] = {"mean": mean, "se": error}
        simulated = published["cliff_interim"]["mean_and_se"]
        theirs = np.array([simulated[f"{name}/{rate}"] for rate in STEP_SIZES])
        interim = table[name]["interim"]
        score = (interim["mean"] - theirs[:, 0]) / np.hypot(interim["se"], theirs[:, 1])
        interim["largest_score"] = np.abs(score).max()
        interim["score"] = score
        drawn = np.array([digitised[labels[name]][str(a)] for a in STEP_SIZES])
        difference = np.abs(table[name]["first_1000"]["mean"] - drawn)
        table[name]["first_1000"]["difference_from_digitised"] = difference
    return table


def draw(path: pathlib.Path, bias: dict, walk: dict, published: dict) -> None:
    """Both figures, ours as lines and theirs as dots."""
    import matplotlib.figure
    import numpy as np

    from jaxq.runs import plots

    figure = matplotlib.figure.Figure(figsize=(10, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = {"q": "Q-learning", "double_q": "Double Q-learning"}
    colors = {"q": plots.BLUE, "double_q": plots.ORANGE}
    episode = np.arange(1, 301)
    for name, label in names.items():
        theirs = published["maximization_bias"][name]
        left.plot(episode, 100 * bias[name]["left"], color=colors[name], label=label)
        left.plot(
            episode[9::10], 100 * np.array(theirs["left"])[9::10], ".",
            color="0.25", markersize=4,
        )  # fmt: skip
    left.axhline(5, color="0.6", linestyle=":", linewidth=1)
    left.set(
        title=f"Maximisation bias ({bias['runs']:,} runs)", xlabel="episode",
        ylabel="% left actions from A", ylim=(0, 100),
    )  # fmt: skip
    left.legend(frameon=False)
    palette = {"q": plots.BLUE, "sarsa": plots.ORANGE, "expsarsa": "#009E73"}
    labels = {"q": "Q-learning", "sarsa": "SARSA", "expsarsa": "Expected SARSA"}
    for name, color in palette.items():
        right.plot(
            STEP_SIZES, walk[name]["interim"]["mean"], color=color, linestyle="--"
        )
        right.plot(
            STEP_SIZES, walk[name]["end"]["mean"], color=color, label=labels[name]
        )
        theirs = published["cliff_interim"]["mean_and_se"]
        right.plot(
            STEP_SIZES, [theirs[f"{name}/{a}"][0] for a in STEP_SIZES], ".",
            color="0.25", markersize=5,
        )  # fmt: skip
    right.set(
        title=f"Cliff walking ({walk['runs']:,} runs): first 100 episodes dashed",
        xlabel="step size", ylabel="return per episode", ylim=(-155, 0),
    )  # fmt: skip
    right.legend(frameon=False, loc="lower right")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    plots.save(figure, path)


def main() -> None:
    """Run, compare, write."""
    arguments = tyro.cli(Arguments, description=__doc__)
    cli.set_up_jax(flags.Options())
    import jax

    from jaxq.runs import files, manifest

    published = json.loads((ROOT / "published/sutton_barto_tabular.json").read_text())
    bias = maximization_bias(arguments, published)
    walk = cliff(arguments, published)
    for name in ("figures", "tables"):
        (arguments.output / name).mkdir(parents=True, exist_ok=True)
    record = manifest.collect("textbook", jax.devices()[:1], arguments.bias_runs)
    table = {"maximization_bias": bias, "cliff": walk, "manifest": record}
    files.write_json(arguments.output / "tables" / "textbook.json", table)
    draw(arguments.output / "figures" / "textbook.png", bias, walk, published)
    for name in ("q", "double_q"):
        print(
            f"maximisation bias, {name}: {100 * bias[name]['left'][-1]:.1f} % left in "
            f"the end, largest |z| at every tenth episode "
            f"{bias[name]['largest_score_every_tenth']:.2f}, "
            f"{bias[name]['seconds']:.1f} s"
        )
    for name in METHODS:
        found = walk[name]
        print(
            f"cliff, {name}: step size 0.5: first 100 episodes "
            f"{found['interim']['mean'][4]:.1f}, end {found['end']['mean'][4]:.1f}; "
            f"largest |z| {found['interim']['largest_score']:.2f}, "
            f"{found['seconds']:.1f} s"
        )


if __name__ == "__main__":
    with cli.exit_codes():
        main()
