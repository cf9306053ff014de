"""Comparison of sweeps with the published results of ARLBench."""

import json

import numpy as np
import pytest
from small_sweeps import ROOT


def test_the_settings_of_arlbench_are_the_published_ones(tmp_path):
    from experiments import arlbench
    from experiments.support import arlbench_settings

    (tmp_path / "published").mkdir()
    arlbench.write(tmp_path)
    for short, name in arlbench_settings.SHORT.items():
        path = f"published/arlbench_{short}.csv"
        text = (tmp_path / path).read_text()
        assert text == (ROOT / "results" / path).read_text()
        assert len(arlbench_settings.settings(name)) == 24
    # By hand: a copy every ceil(70 / 8) = 9 steps of all environments, with 8 updates
    # every second step.
    row = {"env": "MountainCar-v0", "use_target_network": "True"}
    assert (
        arlbench_settings.target_period(row | {"target_update_interval": "70.0"}) == 36
    )
    # Never within the 128 updates between two rollouts; and without a target network.
    row["env"] = "CartPole-v1"
    assert (
        arlbench_settings.target_period(row | {"target_update_interval": "1.0"}) == 128
    )
    assert arlbench_settings.target_period(row | {"use_target_network": "False"}) == 1


def test_a_sweep_is_compared_with_the_published_returns(tmp_path):
    from experiments import arlbench
    from experiments.support import arlbench_settings

    name = "CartPole-v1"
    settings = arlbench_settings.settings(name)
    rows = [r for r in arlbench_settings.published() if r["env"] == name]
    last = [float(r["mean"]) for r in rows if r["env_steps"] == "50000"]
    content = {
        "schema": "jaxq-sweep/1",
        "config": {"environment": name, "num_seeds": 5},
        "settings": settings[::-1],  # in another order
        "programs": [{"width": 5}, {"width": 5}],
        "ranges": [],
        "made_with": {},
    }
    (tmp_path / "sweep.json").write_text(json.dumps(content))
    (tmp_path / "manifest.json").write_text("{}")
    noise = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    ours = np.array(last[::-1])[:, None, None] + noise[:, None]
    arrays = {}
    for i, part in enumerate((np.arange(0, 24, 2), np.arange(1, 24, 2))):
        arrays |= {f"program{i}/setting": part, f"program{i}/eval_return": ours[part]}
    np.savez(tmp_path / "metrics.npz", **arrays)
    result = arlbench.compare(tmp_path)
    assert result["spearman"] == pytest.approx(1.0)
    for row in result["settings"]:
        assert row["ours_mean"] == pytest.approx(row["published_mean"])
        assert row["welch_p"] == pytest.approx(1.0) == row["holm_p"]
