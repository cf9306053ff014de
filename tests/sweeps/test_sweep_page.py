"""report.html of a sweep: its ranking, its axes and its size."""

import numpy as np
from report_pages import embedded, numbers, of_sweep, section

from jaxq.runs.page import build
from jaxq.sweeps import page as pages

SETTINGS = [
    {"learning_rate": rate, "hidden_sizes": sizes, "max_grad_norm": norm}
    for rate in (1e-4, 1e-3, 1e-2)
    for sizes in ((32,), (64, 64))
    for norm in (None, 10.0)
]


def test_the_table_is_the_ranking():
    page, (ranked,) = of_sweep(SETTINGS)
    data = embedded(build.text(page))
    table = section(data, "table")
    assert table["columns"][:5] == [
        "rank", "learning_rate", "hidden_sizes", "max_grad_norm", "IQM",
    ]  # fmt: skip
    for place, (row, cells) in enumerate(zip(ranked.rows, table["rows"], strict=True)):
        setting = SETTINGS[row.setting]
        sizes = "x".join(map(str, setting["hidden_sizes"]))
        norm = "none" if setting["max_grad_norm"] is None else "10"
        expected = [place + 1, setting["learning_rate"], sizes, norm, row.iqm]
        assert cells[:5] == expected and cells[5:7] == [row.low, row.high]
    assert "The best: learning_rate=" in data["headline"]


def test_axes_are_numbers_or_names():
    page, _ = of_sweep(SETTINGS)
    data = embedded(build.text(page))
    part = section(data, "parallel")
    rate, sizes, norm, score = part["axes"]
    assert rate["log"] and rate["labels"] is None and score["name"] == "IQM"
    assert sizes["labels"] == ["32", "64x64"] and norm["labels"] == ["10", "none"]
    assert data["sections"][part["table"]]["heading"] == "Settings"


def test_the_curves_of_the_best_settings_are_drawn():
    page, (ranked,) = of_sweep(SETTINGS)
    part = section(embedded(build.text(page)), "curves")
    assert len(part["series"]) == pages.TOP
    assert [entry["off"] for entry in part["series"]].count(False) == pages.SHOWN
    lines = part["charts"][0]["lines"]
    for row, line in zip(ranked.rows, lines, strict=False):
        assert numbers(line)[-1] == row.iqm


def test_one_seed_has_no_interval_and_one_setting_no_axes():
    page, _ = of_sweep(SETTINGS[:1], num_seeds=1)
    data = embedded(build.text(page))
    assert not [part for part in data["sections"] if part["kind"] == "parallel"]
    assert section(data, "table")["rows"][0][2:4] == ["nan", "nan"]
    assert "low" not in section(data, "curves")["charts"][0]["lines"][0]


def test_a_page_is_small_whatever_the_sweep():
    settings = [
        {"learning_rate": 10 ** -(2 + 3 * i / 500), "target_period": 1 + i}
        for i in range(500)
    ]
    page, _ = of_sweep(settings, num_points=300)
    text = build.text(page)
    assert len(text) < build.MAX_BYTES
    assert len(section(embedded(text), "table")["rows"]) == 500
    rows = np.arange(100_000).reshape(10_000, 10)
    table = build.table("Settings", list("abcdefghij"), rows, (), "settings.csv")
    assert table["notes"] == [
        f"The first {len(table['rows'])} of 10000 rows are shown; settings.csv has all "
        "of them."
    ]
