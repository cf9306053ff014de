"""report.html in headless Chromium: keyboard, pointer, narrow and dark screens."""

import shutil

import numpy as np
import pytest
from report_pages import curve, of_comparison, of_run, of_sweep

from jaxq.runs.page import build

pytestmark = pytest.mark.slow
webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
SETTINGS = [
    {"learning_rate": rate, "target_period": period, "head": head}
    for rate in (1e-4, 1e-3, 1e-2)
    for period in (20, 200)
    for head in ("scalar", "quantile")
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for flag in (*FLAGS, f"--user-data-dir={profile}", "--hide-scrollbars"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def measured():
    """Five seeds, one of which diverges; values that are missing, infinite and < 0."""
    made = curve(5, 12)
    made.diverged[1, 6:] = True
    made.loss[1, 6:] = np.nan
    made.q_value[2, 3] = np.inf
    made.grad_norm[:] -= 400
    return made


@pytest.fixture(scope="module")
def pages(tmp_path_factory, measured):
    directory = tmp_path_factory.mktemp("pages")
    pages = {
        "run": of_run(measured, extra={"</script><b>": np.full((5, 12), 1 / 3)}),
        "one": of_run(curve(1, 1)),
        "many": of_run(curve(64, 300)),
        "sweep": of_sweep(SETTINGS)[0],
        "comparison": of_comparison(),
    }
    for name, page in pages.items():
        build.write(directory / f"{name}.html", page)
    return directory


def screen(browser, width, scheme):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})


@pytest.fixture
def show(browser, pages):
    def show(name, width=1200, scheme="light"):
        screen(browser, width, scheme)
        browser.get((pages / f"{name}.html").as_uri())
        wait(browser, "return document.querySelectorAll('figure svg *').length")

    yield show
    assert browser.get_log("browser") == []


def wait(browser, script, *arguments):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 10).until(
        lambda driver: driver.execute_script(script, *arguments)
    )


def press(browser, *keys):
    from selenium.webdriver import Keys

    words = {"SPACE": " "}
    for key in keys:
        element = browser.switch_to.active_element
        element.send_keys(words.get(key) or getattr(Keys, key))


def focus(browser, element):
    browser.execute_script("arguments[0].focus()", element)


def find(browser, selector, text=""):
    found = browser.find_elements("css selector", selector)
    return next(element for element in found if text in element.text)


def lines(browser, label):
    return browser.find_elements("css selector", f'path[data-series="{label}"]')


@pytest.mark.parametrize("name", ["run", "one", "many", "sweep", "comparison"])
@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1600, "light")])
def test_every_page_fits_the_screen_without_errors(browser, show, name, width, scheme):
    show(name, width, scheme)
    assert (
        browser.execute_script("return document.documentElement.scrollWidth") == width
    )
    for box in browser.find_elements("css selector", ".scales input[type=checkbox]"):
        box.click()  # log axes, also of values that are not positive
    assert browser.find_elements("css selector", "path.curve")
    color = "return getComputedStyle(document.body).backgroundColor"
    is_dark = browser.execute_script(color) != "rgb(255, 255, 255)"
    assert is_dark == (scheme == "dark")
    outside = """
        return [...document.querySelectorAll('figure svg')].flatMap((svg) => {
          const box = svg.getBoundingClientRect();
          return [...svg.querySelectorAll('text')].filter((node) => {
            const own = node.getBoundingClientRect();
            return own.left < box.left - 1 || own.right > box.right + 1;
          }).map((node) => node.textContent);
        });"""
    assert browser.execute_script(outside) == []


def test_a_seed_is_toggled_by_keyboard(browser, show):
    show("run")
    count = len(lines(browser, "seed 3"))
    assert count == 9  # the other measurements are the same for every seed
    focus(
        browser, find(browser, "label", "seed 3").find_element("css selector", "input")
    )
    press(browser, "SPACE")
    assert not lines(browser, "seed 3") and lines(browser, "seed 2")
    press(browser, "SPACE")
    assert len(lines(browser, "seed 3")) == count
    focus(browser, find(browser, "button", "no seeds"))
    press(browser, "ENTER")
    assert not lines(browser, "seed 2") and lines(browser, "IQM, 95 % interval")
    assert "diverged" in find(browser, "label", "seed 1").text


def test_the_tooltip_shows_exact_numbers(browser, show, measured):
    show("run")
    picture = find(browser, "figure.wide svg")
    focus(browser, picture)
    press(browser, "END", "ARROW_LEFT", *["ARROW_DOWN"] * 3)
    tip = find(browser, "figure.wide .tip").text
    step, value = int(measured.steps[-2]), measured.eval_return[1, -2]
    assert f"step {step:,}" in tip and f"seed 1, diverged: {value!s}" in tip
    assert "IQM, 95 % interval: " in tip and "[" in tip
    press(browser, "ESCAPE")
    assert not find(browser, "figure.wide .tip").is_displayed()
    from selenium.webdriver import ActionChains

    ActionChains(browser).move_to_element(picture).perform()
    assert find(browser, "figure.wide .tip").text.startswith("step ")


def test_a_log_axis_counts_the_values_without_a_place(browser, show, measured):
    show("run")
    figure = find(browser, "figure", "gradient norm")
    focus(
        browser, find(browser, "label", "log y").find_element("css selector", "input")
    )
    press(browser, "SPACE")
    note = figure.find_element("css selector", ".note").text
    below = int((measured.grad_norm <= 0).sum())
    assert below and "values are not positive" in note
    assert int(note.split()[0]) >= below  # those of the IQM as well
    assert (
        "Infinite values are not drawn: 1." in find(browser, "figure", "Q-value").text
    )


def test_a_table_is_sorted_by_keyboard(browser, show):
    show("sweep")
    header = find(browser, "th", "learning_rate")
    focus(browser, header.find_element("css selector", "button"))
    column = "td:nth-child(2)"

    def rates():
        cells = browser.find_elements("css selector", f".table tbody tr {column}")
        return [float(cell.get_attribute("title")) for cell in cells[: len(SETTINGS)]]

    assert rates() != sorted(rates())
    press(browser, "ENTER")
    assert rates() == sorted(rates())
    assert header.get_attribute("aria-sort") == "ascending"
    press(browser, "SPACE")
    assert rates() == sorted(rates(), reverse=True)
    assert header.get_attribute("aria-sort") == "descending"


def test_parallel_coordinates_are_read_by_keyboard(browser, show):
    show("sweep")
    (picture,) = browser.find_elements("css selector", ".scroll svg")
    assert len(picture.find_elements("css selector", "polyline")) == len(SETTINGS)
    focus(browser, picture)
    press(browser, "ARROW_DOWN", "ARROW_DOWN")
    rank = find(browser, ".table tbody tr:nth-child(2)").text.split()
    words = find(browser, "figure .tip", "rank 2").text
    assert f"learning_rate {rank[1]}" in words and f"IQM {rank[4]}" in words
    focus(browser, find(browser, "input[type=range]"))
    press(browser, "HOME")
    assert len(picture.find_elements("css selector", "polyline")) == 1


def test_focus_is_visible_and_in_order(browser, show):
    show("run")
    from selenium.webdriver import ActionChains, Keys

    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.switch_to.active_element.get_attribute("type") == "checkbox"
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert browser.execute_script(outline) == "solid"


def test_the_page_connects_to_nothing(browser, show):
    show("run")
    names = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    assert browser.execute_script(names) in ([], ["data:,"])
