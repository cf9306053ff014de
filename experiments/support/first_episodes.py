"""First action, return and length of the first episodes of many runs."""

import numpy as np


class FirstEpisodes:
    """Record of the first episodes of many runs, filled in step by step.

    Attributes:
        actions: first action of every episode, [runs, episodes].
        returns: return of every episode, [runs, episodes].
        lengths: steps of every episode, [runs, episodes].
    """

    def __init__(self, runs: int, episodes: int):
        self.actions, self.returns, self.lengths = np.zeros((3, runs, episodes))
        self._starts = np.ones((runs, 1), bool)  # whether the next step starts one
        self._finished = np.zeros((runs, 1), int)  # number of finished episodes

    @property
    def complete(self) -> bool:
        """Whether every run has finished all its episodes."""
        return self._finished.min() >= self.returns.shape[1]

    def add(self, action: np.ndarray, reward: np.ndarray, done: np.ndarray) -> None:
        """Add consecutive steps of all runs; every argument is [runs, steps]."""
        runs, episodes = self.returns.shape
        index = self._finished + np.cumsum(done, axis=1) - done
        first = np.concatenate([self._starts, done[:, :-1]], axis=1)
        counts = index < episodes
        row = np.arange(runs)[:, None] * episodes
        cell = (row + np.minimum(index, episodes - 1))[counts]
        sums = np.bincount(cell, reward[counts], runs * episodes)
        self.returns += sums.reshape(runs, episodes)
        self.lengths += np.bincount(cell, minlength=runs * episodes).reshape(
            runs, episodes
        )
        self.actions.reshape(-1)[cell[first[counts]]] = action[counts & first]
        self._starts, self._finished = done[:, -1:], index[:, -1:] + done[:, -1:]
