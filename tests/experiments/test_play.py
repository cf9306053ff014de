"""Animations of trained agents."""

import dataclasses

import family
import numpy as np
import pytest
from PIL import Image
from scripts import run_script

from experiments import play as play_script
from experiments.support import frames
from experiments.support.frames import Moment
from jaxq.config.config import Config
from jaxq.config.environment_table import ENVIRONMENTS
from jaxq.envs import make
from jaxq.runs import run


def moment(observation, q_values=(0.0, 1.0)):
    return Moment(np.asarray(observation), np.asarray(q_values), 1, 3, 2.5)


def drawn(config, observation):
    """Pixels of the picture of an observation, [H, W, 3]."""
    image = frames.frame(moment(observation), frames.picture(config))
    assert image.size == (frames.SIZE + frames.PANEL, frames.SIZE)
    return np.asarray(image)[:, : frames.SIZE].astype(int)


def center(pixels, color):
    """Mean (x, y) of the pixels near a colour, in shares of the picture."""
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    y, x = np.nonzero(np.abs(pixels - wanted).sum(axis=2) < 60)
    assert x.size
    return x.mean() / frames.SIZE, y.mean() / frames.SIZE


def test_a_run_is_animated(tmp_path):
    config = dataclasses.replace(family.TINY, num_seeds=1, seed_block=1)
    result = run.run(config, output=tmp_path, plot=False)
    done = run_script("experiments/play.py", str(result.directory), "--every", "2")
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    steps, total = (
        int(words[words.index("in") + 1]),
        float(words[words.index("return") + 1]),
    )
    assert total == steps  # a reward of 1 per step
    with Image.open(result.directory / "play.gif") as gif:
        assert gif.n_frames == (steps + 1) // 2 + 1
        first = np.asarray(gif.convert("RGB"))
        gif.seek(gif.n_frames - 1)
        assert np.any(first != np.asarray(gif.convert("RGB")))


def test_a_run_plays_as_it_was_evaluated(tmp_path, monkeypatch):
    config = dataclasses.replace(
        family.TINY, num_seeds=1, seed_block=1, eval_epsilon=0.25
    )
    directory = str(run.run(config, output=tmp_path, plot=False).directory)
    seen, play = [], play_script.play
    monkeypatch.setattr(
        play_script, "play", lambda *args: seen.append(args[3]) or play(*args)
    )
    for words in ((), ("--epsilon", "0")):
        monkeypatch.setattr("sys.argv", ["play.py", directory, *words])
        play_script.main()
    assert seen == [0.25, 0.0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--every", "0"), "every = 0 must be positive"),
        (("--epsilon", "2"), "epsilon = 2.0 is not a probability"),
        (("--seed", "77"), 'choose "best", "all", or one of 0 to 9'),
    ],
)
def test_bad_options_are_refused(words, message, tmp_path):
    path = tmp_path / "play.gif"
    done = run_script("experiments/play.py", "results/main", *words, "--gif", str(path))
    assert done.returncode == 2 and message in done.stderr
    assert not path.exists()


def test_a_missing_directory_is_refused_at_once(tmp_path):
    path = tmp_path / "missing" / "play.gif"
    done = run_script("experiments/play.py", "results/main", "--gif", str(path))
    assert done.returncode == 2
    assert f"{path.parent} is not a directory" in done.stderr


def test_classic_control_is_drawn_where_it_is():
    for position in (-2.0, 0.0, 1.5):
        pixels = drawn(Config(environment="CartPole-v1"), [position, 0, 0, 0])
        x, _ = center(pixels, frames.GOLD)
        assert x == pytest.approx(0.5 + position / 5.4, abs=0.02)
    tilted = drawn(Config(environment="CartPole-v1"), [0.0, 0, 0.5, 0])
    assert center(tilted, frames.GOLD)[0] > 0.55
    valley = drawn(Config(environment="MountainCar-v0"), [-np.pi / 6, 0])
    hill = drawn(Config(environment="MountainCar-v0"), [0.4, 0])
    assert center(valley, frames.BLUE)[1] > center(hill, frames.BLUE)[1]
    down = drawn(Config(environment="Acrobot-v1"), [1.0, 0, 1, 0, 0, 0])
    assert center(down, frames.BLUE)[0] == pytest.approx(0.5, abs=0.02)
    assert center(down, frames.BLUE)[1] > 0.6
    right = drawn(Config(environment="Acrobot-v1"), [0.0, 1, 1, 0, 0, 0])
    assert center(right, frames.BLUE)[0] > 0.6


def test_maps_show_the_agent_and_the_goal():
    pixels = drawn(Config(environment="FourRooms-misc"), [1, 3, 8, 9])
    side = (1 - 16 / frames.SIZE) / 13
    edge = 8 / frames.SIZE
    for color, x, y in ((frames.BLUE, 3, 1), (frames.GREEN, 9, 8)):
        expected = edge + side * (x + 0.5), edge + side * (y + 0.5)
        assert center(pixels, color) == pytest.approx(expected, abs=0.01)
    pixels = drawn(Config(environment="FrozenLake-misc"), 6)
    assert center(pixels, frames.BLUE) == pytest.approx((0.617, 0.383), abs=0.02)
    assert center(pixels, frames.GREEN) == pytest.approx((0.85, 0.85), abs=0.02)


def test_grids_images_and_numbers_are_drawn():
    grid = np.zeros((4, 4, 3), bool)
    grid[0, 3, 1] = grid[3, 0, 2] = True
    plain = Config(environment="Catch-bsuite")
    pixels = drawn(plain, grid)
    assert center(pixels, frames.CHANNELS[1]) == pytest.approx((0.85, 0.15), abs=0.02)
    assert center(pixels, frames.CHANNELS[2]) == pytest.approx((0.15, 0.85), abs=0.02)
    image = np.zeros((84, 84, 3), np.uint8)
    image[:42, :42, 0] = 255
    assert center(drawn(plain, image), "#ff0000") == pytest.approx(
        (0.25, 0.25), abs=0.02
    )
    bars = drawn(plain, np.float32([1.0, -1.0]))
    x, y = np.nonzero(np.abs(bars - [42, 111, 187]).sum(axis=2) < 60)[::-1]
    assert y[x < 120].max() <= 121 and y[x > 120].min() >= 119


def test_a_value_that_does_not_exist_is_shown_as_none():
    images = [
        np.asarray(frames.frame(moment(np.zeros((4, 4)), q_values), frames.shapes))
        for q_values in ((0.0, -np.inf), (0.0, np.nan), (0.0, 7.0))
    ]
    np.testing.assert_array_equal(images[0], images[1])
    assert np.any(images[0] != images[2])


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_environment_can_be_drawn(name):
    spec = make.make(name).spec
    observation = np.zeros(spec.observation.shape, spec.observation.dtype)
    if name == "FourRooms-misc":
        observation = np.int32([1, 1, 2, 2])
    pixels = drawn(Config(environment=name), observation)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1
