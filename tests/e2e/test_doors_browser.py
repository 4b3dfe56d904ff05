"""The pages in a real browser: live states without a reload, both views agree, nothing comes from elsewhere."""

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from doors_server import PROBLEM, SOFTMAX, Server, serving
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE_MS = 30_000

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH; apt install chromium"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("browser") / "home", DOORS_STEP_S="0.5") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(PATIENCE_MS)
    yield opened
    opened.close()


def states(page: Page, scope: str) -> dict[str, str]:
    found = page.locator(f"{scope} [data-node-id]").evaluate_all(
        "all => all.map(e => [e.dataset.nodeId, e.dataset.state])"
    )
    return dict(found)


def test_the_graph_shows_live_states_and_the_table_says_the_same(server: Server, page: Page, tmp_path: Path) -> None:
    asked: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    job = server.submit(PROBLEM, SOFTMAX)
    page.goto(f"{server.url}/jobs/{job}")

    page.locator('svg.graph .node[data-state="running"]').first.wait_for()
    running = page.locator('#nodes tr[data-state="running"]')
    expect(running.first).to_be_visible()
    page.locator('svg.graph .node[data-node-id$="vary-0003"]').first.wait_for()
    shot = tmp_path / "running.png"
    page.screenshot(path=shot, full_page=True)
    assert shot.stat().st_size > 20_000

    expect(page.locator("[data-job-state]")).to_have_attribute("data-job-state", "succeeded", timeout=PATIENCE_MS)
    page.wait_for_function("document.querySelectorAll('svg.graph .live').length === 0")
    assert states(page, "svg.graph") == states(page, "#nodes")
    assert set(states(page, "#nodes").values()) == {"done"}
    expect(page.locator("#results")).to_contain_text("1.50")
    expect(page.get_by_role("link", name="Report")).to_be_visible()
    assert faults == []
    assert {url.split("/")[2] for url in asked} == {server.url.split("/")[2]}


def test_the_cancel_button_cancels(server: Server, page: Page) -> None:
    job = server.submit(PROBLEM)
    page.goto(f"{server.url}/jobs/{job}")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("[data-job-state]")).to_have_attribute("data-job-state", "cancelled", timeout=PATIENCE_MS)
    assert server.client.get(f"/v1/jobs/{job}").json()["status"] == "cancelled"


def test_the_list_shows_a_new_job_without_a_reload(server: Server, page: Page) -> None:
    page.goto(server.url)
    job = server.submit(PROBLEM)
    row = page.locator(f'[data-job-id="{job}"]')
    row.wait_for()
    server.client.post(f"/v1/jobs/{job}/cancel")
    expect(row).to_have_attribute("data-state", "cancelled", timeout=PATIENCE_MS)
    row.get_by_role("link").click()
    expect(page.locator("h1")).to_contain_text(job)


def test_the_page_reads_without_scripts(server: Server, browser: Browser) -> None:
    job = server.submit(PROBLEM)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{server.url}/jobs/{job}")
    expect(page.locator("#nodes")).to_contain_text("goal")
    page.get_by_role("button", name="Cancel").click()
    time.sleep(1)
    page.reload()
    expect(page.locator("[data-job-state]")).to_have_attribute("data-job-state", "cancelled", timeout=PATIENCE_MS)
    context.close()
