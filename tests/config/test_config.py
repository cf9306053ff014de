import dataclasses
import json
import subprocess
import sys

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripts import run_script

from jaxq.config import config, loop_lengths, validate
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError

NAN, INF = float("nan"), float("inf")

BAD = [
    ("learning_rate", 0.0, r"outside \(0, inf\)"),
    ("learning_rate", -1.0, r"outside \(0, inf\)"),
    ("learning_rate", NAN, "must be finite"),
    ("learning_rate", INF, "must be finite"),
    ("learning_rate", "fast", r"must be of type float; try 0\.00025"),
    ("learning_rate", "1e-3", r"must be of type float; try 0\.001\."),
    ("total_steps", 1e5, r"must be of type int; try 100000\."),
    ("total_steps", 4000.5, r"must be of type int; try 500000\."),
    ("learning_rate_updates", 0.0, "outside"),
    ("learning_rate_schedule", "cosine", "choose one of constant, linear, inverse"),
    ("discount", -0.1, r"outside \[0, 1\]"),
    ("discount", 1.01, r"outside \[0, 1\]"),
    ("discount", True, "must be of type float"),
    ("learning_rate", 1e39, "does not fit in float32"),
    ("optimizer_eps", 1e-50, "does not fit in float32"),
    ("epsilon_start", 1.5, r"outside \[0, 1\]"),
    ("epsilon_end", -0.5, r"outside \[0, 1\]"),
    ("epsilon_steps", 0.0, "outside"),
    ("epsilon_schedule", "stepwise", "choose one of linear, exponential, episodic"),
    ("eval_epsilon", 2.0, r"outside \[0, 1\]"),
    ("num_seeds", 0, r"outside \[1"),
    ("num_seeds", 2.5, "must be of type int"),
    ("first_seed", -1, r"outside \[0"),
    ("first_seed", 2**32, r"outside \[0"),
    ("first_seed", 2**32 - 3, "leaves no room for num_seeds = 10"),
    ("seed_block", -2, "outside"),
    ("total_steps", 0, "outside"),
    ("total_steps", -5, "outside"),
    ("total_steps", 3_000_000_000, "outside"),
    ("total_steps", 2**31 - 1, "a step counter holds"),
    ("total_steps", 10_000, "not more than the warm-up"),
    ("num_envs", 0, "outside"),
    ("buffer_size", 0, "outside"),
    ("buffer_size", 64, "batch_size = 128 exceeds buffer_size = 64"),
    ("buffer_size", 2**31 - 1, "that an index can address"),
    ("batch_size", 0, "outside"),
    ("batch_size", 20_000, "exceeds buffer_size"),
    ("warmup_steps", 0, "outside"),
    ("warmup_steps", 600_000, "not more than the warm-up"),
    ("update_steps", 0, "outside"),
    ("num_updates", -1, "outside"),
    ("n_step", 0, "outside"),
    ("n_step", 1000, "outside"),
    (
        "optimizer",
        "lion",
        "choose one of adam, amsgrad, nadam, radam, rmsprop, muon, sgd",
    ),
    ("adam_b1", 1.0, "outside"),
    ("optimizer_eps", 0.0, "outside"),
    ("max_grad_norm", 0.0, "outside"),
    ("loss", "cubed", "choose one of squared, huber"),
    ("huber_delta", -1.0, "outside"),
    ("loss_reduction", "max", "choose one of mean, sum"),
    ("target_period", 0, "outside"),
    ("target_tau", 0.0, r"outside \(0, 1\]"),
    ("target_tau", 1.5, r"outside \(0, 1\]"),
    (
        "network",
        "transformer",
        "choose one of auto, mlp, minatar, nature, impala, table",
    ),
    ("hidden_sizes", (64, 0), "outside"),
    ("hidden_sizes", 64, "must be a tuple"),
    ("channels", 0, "outside"),
    ("eval_points", 0, "outside"),
    ("eval_episodes", 0, "outside"),
    ("eval_max_steps", 0, "outside"),
    ("chunk_iterations", -1, "outside"),
    ("sticky_actions", 1.2, r"outside \[0, 1\]"),
    ("time_limit", 0, "outside"),
    ("time_limit", 1, "every step would be truncated"),
    ("timeout_is_terminal", "yes", "must be of type bool"),
    ("environment", 5, "must be of type str"),
    ("algorithm", None, "must be of type str"),
]


def test_the_defaults_are_valid():
    validate.validate(Config())


@pytest.mark.parametrize(("field", "value", "message"), BAD)
def test_a_bad_value_is_rejected_with_its_name_and_the_way_out(field, value, message):
    with pytest.raises(ConfigError, match=message) as error:
        validate.validate(Config(defaults="plain", **{field: value}))
    assert field in str(error.value)


def test_more_gradient_steps_than_a_counter_holds_are_rejected():
    with pytest.raises(ConfigError, match=r"num_updates = 8 makes 2\d+ gradient steps"):
        validate.validate(
            Config(
                defaults="plain", total_steps=300_000_000, update_steps=1, num_updates=8
            )
        )


def test_integers_where_floats_belong_compile_to_the_same_program():
    from jaxq.training import compiled

    one, other = (
        compiled.traced(Config(discount=value, learning_rate=value))
        for value in (1, 1.0)
    )
    assert one.discount.dtype == other.discount.dtype == "float32"


def test_there_are_enough_bad_values():
    assert len(BAD) >= 60


def test_limits_of_one_step_and_unused_epsilons_are_accepted_where_they_do_no_harm():
    validate.validate(Config(defaults="plain", algorithm="pqn", time_limit=1))
    with pytest.raises(ConfigError, match="every step would be truncated"):
        validate.validate(
            Config(defaults="plain", algorithm="sarsa", network="table", time_limit=1)
        )
    for schedule in ("ladder", "none"):
        config = Config(
            defaults="plain", epsilon_schedule=schedule, epsilon_start=0.04,
            epsilon_end=0.05, num_envs=4,
        )  # fmt: skip
        validate.validate(config)
    with pytest.raises(ConfigError, match=r"epsilon_end = 0\.05 is above"):
        validate.validate(dataclasses.replace(config, epsilon_schedule="episodic"))


def test_fields_that_exclude_each_other():
    with pytest.raises(ConfigError, match=r"epsilon_end = 0\.5 is above"):
        validate.validate(Config(epsilon_start=0.1, epsilon_end=0.5))
    with pytest.raises(ConfigError, match="Set buffer_size to 80"):
        validate.validate(
            Config(
                defaults="plain",
                num_envs=20,
                n_step=3,
                buffer_size=20,
                batch_size=8,
                update_steps=20,
            )
        )
    validate.validate(Config(defaults="plain", time_limit=1, timeout_is_terminal=True))


@settings(deadline=None, max_examples=200)
@given(
    st.integers(1, 64), st.integers(1, 64), st.integers(1, 8), st.integers(1, 5000),
    st.integers(1, 10), st.integers(0, 300), st.integers(1, 30),
)  # fmt: skip
def test_loops_keep_the_replay_ratio(envs, steps, updates, warmup, n, chunk, points):
    settings = Config(
        defaults="plain",
        num_envs=envs, update_steps=steps, num_updates=updates, warmup_steps=warmup,
        n_step=n, chunk_iterations=chunk, eval_points=points, total_steps=20_000,
    )  # fmt: skip
    lengths = loop_lengths.loop_lengths(settings)
    iteration = lengths.rollout_length * envs
    assert lengths.num_updates * steps == updates * iteration
    assert lengths.buffer_rows % lengths.rollout_length == 0
    assert lengths.buffer_rows * envs >= settings.buffer_size
    assert lengths.warmup_steps >= warmup
    assert lengths.warmup_rollouts * lengths.rollout_length > n
    assert lengths.point_steps == lengths.point_iterations * iteration
    whole = (lengths.point_chunks - 1) * lengths.chunk_iterations
    assert 0 < lengths.point_iterations - whole <= lengths.chunk_iterations
    assert (
        lengths.total_steps
        == lengths.warmup_steps + lengths.num_points * lengths.point_steps
    )
    assert lengths.total_steps >= 20_000
    if chunk:
        assert lengths.chunk_iterations <= chunk
    chosen = loop_lengths.loop_lengths(
        dataclasses.replace(settings, chunk_iterations=0)
    )
    assert chosen.total_steps == lengths.total_steps
    assert chosen.point_iterations == lengths.point_iterations
    assert lengths.num_points <= points


@pytest.mark.parametrize("chunk", [0, 1, 7, 100, 1_999, 2_000, 2_001, 10**6])
def test_the_number_of_steps_does_not_depend_on_the_chunk_length(chunk):
    """4,900 iterations make two calls of 2,000 and one of 900, or three of 1,634."""
    settings = Config(
        num_envs=1, update_steps=10, warmup_steps=1_000, total_steps=50_000,
        eval_points=1,
    )  # fmt: skip
    settings = dataclasses.replace(settings, chunk_iterations=chunk)
    lengths = loop_lengths.loop_lengths(settings)
    assert lengths.total_steps == 50_000 and lengths.point_iterations == 4_900
    assert lengths.chunk_iterations == min(chunk, 4_900) or not chunk


@pytest.mark.parametrize(
    ("iterations", "chunk"),
    [(490, 490), (2_000, 2_000), (4_900, 1_225), (4_001, 1_334), (2_003, 1_002)],
)
def test_chunks_divide_the_iterations_of_a_point_if_that_takes_few_calls(
    iterations, chunk
):
    settings = Config(
        num_envs=1,
        update_steps=10,
        warmup_steps=1_000,
        total_steps=1_000 + 10 * iterations,
        eval_points=1,
    )
    lengths = loop_lengths.loop_lengths(settings)
    assert lengths.point_iterations == iterations
    assert lengths.chunk_iterations == chunk


def notes(config):
    return loop_lengths.notes(config, loop_lengths.loop_lengths(config))


def test_a_learning_rate_that_ends_before_the_run_is_noted():
    plain = Config(defaults="plain")
    config = dataclasses.replace(
        plain, learning_rate_schedule="linear", learning_rate_updates=49_000.0
    )
    assert notes(config) == notes(plain) == []
    (note,) = notes(dataclasses.replace(config, learning_rate_updates=20_000.0))
    assert "reaches 0 after 20,000 of 49,000 updates" in note
    assert "--learning-rate-updates 49000 " in note


def test_cleanrl_settings_give_cleanrl_counts():
    lengths = loop_lengths.loop_lengths(Config(defaults="plain"))
    assert (lengths.rollout_length, lengths.num_updates) == (10, 1)
    assert lengths.total_steps == 500_000 and lengths.num_points == 100
    assert lengths.num_points * lengths.point_steps // 10 == 49_000


def test_traced_and_static_fields_are_all_fields():
    traced, static = set(config.traced_fields()), set(config.static_fields())
    assert not traced & static
    assert traced | static == {field.name for field in dataclasses.fields(Config)}
    assert {"learning_rate", "discount", "target_period", "epsilon_end"} <= traced
    assert {"batch_size", "num_envs", "optimizer"} <= static
    from jaxq.training import loop

    some = Config(
        max_grad_norm=1.0, q_penalty=0.1, reward_clip=1.0, weight_decay=0.1,
        conservative_weight=0.1, margin_weight=0.1,
        l2_penalty=0.1, l2_init_penalty=0.1, hare_period=9, discount_start=0.5,
    )  # fmt: skip
    assert len(jax.tree.leaves(some)) == len(traced)
    assert loop  # registers the pytree


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = (
        "import sys; from jaxq import Config, cli; from jaxq.config import validate;"
        "validate.validate(Config());"
        "assert not {'jax', 'gymnax', 'numpy', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


BAD_OPTIONS = [
    (("--learning-rate", "-1"), "learning_rate = -1.0 is outside (0, inf)"),
    (("--preset", "nope"), "preset = 'nope': choose one of default, cleanrl"),
    (("--lr-schedule", "linear"), "Did you mean --learning-rate-schedule?"),
    (("--discount", "nan"), "discount = nan must be finite"),
    (("--num-seeds", "300000"), "seeds fit. Use --num-seeds"),
    (("--cpu-cores", "-1"), "cpu_cores must be >= 0, got -1"),
    (("--checkpoint-seconds", "nan"), "checkpoint_seconds must be >= 0, got nan"),
    (("--resume", "/nowhere"), "--output has no effect with --resume"),
    (("--environment", "CartPole-v7"), "Did you mean CartPole-v1"),
    (("--algorithm", "sarsa9"), "Did you mean sarsa"),
    (("--algorithm", "pqn", "--double-q"), "incompatible with Q(lambda) and PQN"),
]
NEED_JAX = ("--environment", "--algorithm", "--num-seeds")

WITHOUT_JAX = """
import contextlib, io, json, runpy, sys
results = []
for words in json.loads(sys.argv[1]):
    out, code = io.StringIO(), 0
    sys.argv = words
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            runpy.run_path(words[0], run_name="__main__")
        except SystemExit as error:
            code = error.code
    results.append([code, sorted({"jax", "gymnax", "numpy"} & set(sys.modules))])
print(json.dumps(results))
"""


def test_help_and_invalid_options_need_no_jax(tmp_path):
    """jax takes seconds to import; the other errors are those that need it."""
    fails = [args for args, _ in BAD_OPTIONS if args[0] not in NEED_JAX]
    words = [["experiments/dqn.py", "--output", str(tmp_path), *a] for a in fails]
    words += [["experiments/dqn.py", "--help"], ["experiments/tabular.py", "--help"]]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_JAX, json.dumps(words)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[2, []]] * len(fails) + [[0, []]] * 2


@pytest.mark.parametrize(("args", "message"), BAD_OPTIONS)
def test_bad_input_on_the_command_line(args, message, tmp_path):
    done = run_script("experiments/dqn.py", "--output", tmp_path, *args)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_64_bits_are_rejected(monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    done = subprocess.run(
        [sys.executable, "experiments/dqn.py"], capture_output=True, text=True
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "JAX_ENABLE_X64 is set, but jaxq computes in 32 bits" in done.stderr


def test_an_unwritable_output_is_rejected_before_compiling():
    done = run_script(
        "experiments/dqn.py", "--output", "/dev/null/x", "--total-steps", "20000"
    )
    assert done.returncode == 7 and "Traceback" not in done.stderr
    assert "/dev/null/x" in done.stderr
