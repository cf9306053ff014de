"""Frames of an episode, drawn from observations with pillow: no display, no pygame."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxq.config.config import Config
from jaxq.envs import gymnax_env
from jaxq.runs import files

SIZE = 240  # pixels of the side of a picture
PANEL = 150  # pixels of the width of the panel of Q-values
SCALE = 2  # drawn larger, and then reduced, for smooth edges

WHITE, BLACK, GREY, PALE = "#ffffff", "#202020", "#9a9a9a", "#ececec"
BLUE, RED, GREEN, GOLD = "#2a6fbb", "#c8402f", "#2f8f4e", "#d9a520"
# Colours of the channels of a grid, from the first; a later channel hides an earlier.
CHANNELS = (
    BLUE, GOLD, RED, GREEN, "#8c5bb0", "#35a7b5", "#e07b39", "#7a7a7a", "#b8408f",
    "#98a83b",
)  # fmt: skip

Picture = Callable[[np.ndarray, Image.Image], None]


class Moment(NamedTuple):
    """What a frame shows."""

    observation: np.ndarray
    q_values: np.ndarray | None  # [A]; None after the last step
    action: int  # that is taken
    step: int
    episode_return: float  # up to this step


def picture(config: Config) -> Picture:
    """The function that draws observations of the environment of a configuration."""
    if config.environment in CLASSIC:
        return CLASSIC[config.environment]
    if config.environment in MAPS:
        base = gymnax_env.build(config.environment, config.environment_args)
        return MAPS[config.environment](base.env)
    return shapes


def frame(moment: Moment, draw_picture: Picture) -> Image.Image:
    """One frame: the observation, and beside it the Q-values with the action chosen."""
    image = Image.new("RGB", (SCALE * (SIZE + PANEL), SCALE * SIZE), WHITE)
    draw_picture(moment.observation, image)
    _panel(moment, ImageDraw.Draw(image))
    return image.resize((SIZE + PANEL, SIZE), Image.Resampling.LANCZOS)


def write_gif(
    path: pathlib.Path, frames: Sequence[Image.Image], frame_seconds: float
) -> None:
    """Write an animation, with one palette for all frames; the last one stays longer.

    Args:
        path: of the file.
        frames: of equal size, at least one.
        frame_seconds: of each frame.
    """
    some = [frames[0], frames[len(frames) // 2], frames[-1]]
    together = Image.new("RGB", (some[0].width, 3 * some[0].height))
    for number, image in enumerate(some):
        together.paste(image, (0, number * image.height))
    palette = together.quantize(96, Image.Quantize.MEDIANCUT)
    small = [
        image.quantize(palette=palette, dither=Image.Dither.NONE) for image in frames
    ]
    milliseconds = max(20, round(1000 * frame_seconds))
    durations = [milliseconds] * (len(small) - 1) + [1500]
    files.write(
        path,
        lambda file: small[0].save(
            file, format="GIF", save_all=True, append_images=small[1:],
            duration=durations, loop=0, optimize=True,
        ),
    )  # fmt: skip


@functools.cache
def _font(size: int) -> Any:
    return ImageFont.load_default(SCALE * size)


def _panel(moment: Moment, draw: ImageDraw.ImageDraw) -> None:
    left, right = SCALE * (SIZE + 12), SCALE * (SIZE + PANEL - 10)
    lines = [f"step {moment.step}", f"return {moment.episode_return:.5g}"]
    for number, line in enumerate(lines):
        draw.text((left, SCALE * (8 + 15 * number)), line, BLACK, _font(11))
    if moment.q_values is None:
        return
    q_values = np.where(np.isfinite(moment.q_values), moment.q_values, np.nan)
    low, high = np.nanmin(q_values), np.nanmax(q_values)
    height = min(26, (SIZE - 60) // len(q_values))
    draw.text((left, SCALE * 42), "Q(s, a)", GREY, _font(10))
    for action, value in enumerate(q_values):
        top = SCALE * (56 + height * action)
        bottom = top + SCALE * (height - 3)
        color = BLUE if action == moment.action else GREY
        text = "none" if np.isnan(value) else f"{value:.4g}"
        share = 0.0 if np.isnan(value) else _share(value, low, high)
        draw.rectangle((left, top, left + share * (right - left), bottom), PALE)
        draw.rectangle((left, top, left + SCALE * 3, bottom), color)
        middle = (top + bottom) / 2
        draw.text(
            (left + SCALE * 8, middle), f"{action}:  {text}", BLACK, _font(10), "lm"
        )


def _share(value: float, low: float, high: float) -> float:
    """Length of a bar: at least a fifth, for the smallest value."""
    return 1.0 if high == low else float(0.2 + 0.8 * (value - low) / (high - low))


def cart_pole(observation: np.ndarray, image: Image.Image) -> None:
    """The cart on its track of 4.8, and the pole."""
    draw = ImageDraw.Draw(image)
    position, _, angle, _ = observation
    unit, ground = SCALE * SIZE / 5.4, SCALE * SIZE * 0.75
    x = SCALE * SIZE / 2 + unit * position
    ends = [SCALE * SIZE / 2 + side * 2.4 * unit for side in (-1, 1)]
    draw.line((ends[0], ground, ends[1], ground), GREY, SCALE)
    for end in ends:
        draw.line((end, ground - SCALE * 6, end, ground + SCALE * 6), RED, SCALE)
    half, height = SCALE * 18, SCALE * 16
    top = ground - height
    draw.rectangle((x - half, top, x + half, ground), BLACK)
    length = SCALE * 90
    tip = (x + length * np.sin(angle), top - length * np.cos(angle))
    draw.line(((x, top), tip), GOLD, SCALE * 6)
    _circle(draw, (x, top), SCALE * 3, BLUE)


def mountain_car(observation: np.ndarray, image: Image.Image) -> None:
    """The car in its valley, and the flag at 0.5."""
    draw = ImageDraw.Draw(image)

    def point(position: np.ndarray | float) -> np.ndarray:
        x = (np.asarray(position) + 1.2) / 1.8
        y = 0.45 * np.sin(3 * np.asarray(position)) + 0.55
        return SCALE * SIZE * np.stack([0.03 + 0.94 * x, 0.92 - 0.75 * y], -1)

    road = point(np.linspace(-1.2, 0.6, 90))
    draw.line([tuple(xy) for xy in road], GREY, SCALE * 2)
    x, y = point(0.5)
    draw.line((x, y, x, y - SCALE * 26), BLACK, SCALE)
    flag = [(x, y - SCALE * 26), (x + SCALE * 14, y - SCALE * 21), (x, y - SCALE * 16)]
    draw.polygon(flag, RED)
    x, y = point(float(observation[0]))
    _circle(draw, (x, y - SCALE * 7), SCALE * 7, BLUE)


def acrobot(observation: np.ndarray, image: Image.Image) -> None:
    """The two links of length 1, and the height of 1 that the tip must reach."""
    draw = ImageDraw.Draw(image)
    first = np.arctan2(observation[1], observation[0])
    second = first + np.arctan2(observation[3], observation[2])
    unit, middle = SCALE * SIZE / 4.6, SCALE * SIZE / 2
    elbow = np.array([np.sin(first), np.cos(first)])
    tip = elbow + np.array([np.sin(second), np.cos(second)])
    joints = [tuple(middle + unit * joint) for joint in (np.zeros(2), elbow, tip)]
    draw.line((0, middle - unit, SCALE * SIZE, middle - unit), RED, SCALE)
    draw.line(joints, BLUE, SCALE * 7, joint="curve")
    for joint in joints:
        _circle(draw, joint, SCALE * 5, BLACK)


CLASSIC: dict[str, Picture] = {
    "CartPole-v1": cart_pole,
    "MountainCar-v0": mountain_car,
    "Acrobot-v1": acrobot,
}


def _circle(
    draw: ImageDraw.ImageDraw, center: Sequence[float], radius: float, color: str
) -> None:
    x, y = center
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), color)


def four_rooms(env: Any) -> Picture:
    """The agent and the goal in the walls of gymnax's environment."""
    free = np.asarray(env.occupied_map) == 0

    def draw_picture(observation: np.ndarray, image: Image.Image) -> None:
        if observation.ndim == 3:  # use_visual_obs
            shapes(observation, image)
            return
        colors = np.where(free, PALE, GREY).astype(object)
        y, x, goal_y, goal_x = (int(number) for number in observation)
        colors[goal_y, goal_x], colors[y, x] = GREEN, BLUE
        _cells(colors, image)

    return draw_picture


def frozen_lake(env: Any) -> Picture:
    """The agent among the tiles: holes, and the goal."""
    from gymnax.environments.misc import frozen_lake as source

    tiles = np.asarray(env.desc)
    others = {source.HOLE: BLACK, source.GOAL: GREEN}

    def draw_picture(observation: np.ndarray, image: Image.Image) -> None:
        colors = np.full(tiles.shape, PALE, object)
        for number, color in others.items():
            colors[tiles == number] = color
        colors[divmod(int(observation), tiles.shape[1])] = BLUE
        _cells(colors, image)

    return draw_picture


MAPS: dict[str, Callable[[Any], Picture]] = {
    "FourRooms-misc": four_rooms,
    "FrozenLake-misc": frozen_lake,
}


def shapes(observation: np.ndarray, image: Image.Image) -> None:
    """Any observation: a grid as cells, an image as pixels, numbers as bars."""
    if observation.ndim == 2:
        observation = observation[:, :, None]
    if observation.ndim == 3 and min(observation.shape[:2]) > 1:
        grid(observation, image)
    else:
        bars(observation.reshape(-1), image)


def grid(observation: np.ndarray, image: Image.Image) -> None:
    """Cells [H, W, C] in the colour of their last channel that is not zero."""
    if np.issubdtype(observation.dtype, np.integer) and observation.max() > 1:
        _pixels(observation, image)
        return
    colors = np.full(observation.shape[:2], PALE, object)
    for channel in range(observation.shape[2]):
        colors[observation[:, :, channel] != 0] = CHANNELS[channel % len(CHANNELS)]
    _cells(colors, image)


def _pixels(pixels: np.ndarray, image: Image.Image) -> None:
    """Pixels of three channels in colour, of others by their mean."""
    values = pixels.astype(np.float64)
    if values.shape[2] != 3:
        values = np.repeat(values.mean(axis=2, keepdims=True), 3, axis=2)
    values = (255 * values / max(values.max(), 1)).astype(np.uint8)
    size = SCALE * SIZE, SCALE * SIZE
    image.paste(Image.fromarray(values).resize(size, Image.Resampling.NEAREST))


def _cells(colors: np.ndarray, image: Image.Image) -> None:
    """Squares in a grid of colours [H, W], as large as they fit."""
    draw = ImageDraw.Draw(image)
    rows, columns = colors.shape
    side = SCALE * (SIZE - 16) / max(rows, columns)
    gap = SCALE if max(rows, columns) <= 20 else 0
    left = SCALE * SIZE / 2 - side * columns / 2
    top = SCALE * SIZE / 2 - side * rows / 2
    for (y, x), color in np.ndenumerate(colors):
        corner = left + side * x, top + side * y
        draw.rectangle((*corner, corner[0] + side - gap, corner[1] + side - gap), color)


def bars(numbers: np.ndarray, image: Image.Image) -> None:
    """A bar for each number x, up or down from the middle, as long as log(1 + |x|)."""
    draw = ImageDraw.Draw(image)
    values = np.sign(numbers) * np.log1p(np.abs(numbers, dtype=np.float64))
    middle, width = SCALE * SIZE / 2, SCALE * (SIZE - 16) / len(values)
    largest = max(np.log(2), np.abs(values).max())
    draw.line((SCALE * 8, middle, SCALE * (SIZE - 8), middle), GREY, SCALE)
    for index, value in enumerate(values):
        left = SCALE * 8 + width * index
        end = middle - value / largest * SCALE * SIZE * 0.4
        top, bottom = sorted((middle, end))
        draw.rectangle((left + width * 0.15, top, left + width * 0.85, bottom), BLUE)
