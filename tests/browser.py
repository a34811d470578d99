"""Pages in a real browser: headless Chromium, as a reader on a screen or a telephone has them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCREEN, TELEPHONE = 1280, 390
"""Widths in pixels."""

TOO_WIDE = """() => {
    const width = document.documentElement.clientWidth
    const scrolls = (node) => node && (["auto", "scroll", "hidden"].includes(getComputedStyle(node).overflowX)
        || scrolls(node.parentElement))
    return [...document.querySelectorAll("body *")]
        .filter((node) => node.getBoundingClientRect().right > width + 1 && !scrolls(node))
        .map((node) => `${node.tagName} of class "${node.className}" is wider than the window`)
        .concat(document.documentElement.scrollWidth > width + 1 ? ["the page scrolls sideways"] : [])
}"""


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    with sync_playwright() as driver:
        sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield opened
        opened.close()


def faults(opened: Browser, page: Path, width: int, picture: Path | None = None) -> list[str]:
    """What is wrong with a page in a window of this width: errors, what it asks of the network, what is too wide."""
    found: list[str] = []
    with opened.new_context(viewport={"width": width, "height": 900}) as context:
        tab = context.new_page()
        tab.on("console", lambda message: found.append(message.text) if message.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: found.append(str(error)))
        tab.on(
            "request", lambda asked: found.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None
        )
        tab.goto(page.resolve().as_uri())
        broken = tab.evaluate("[...document.images].filter((image) => !image.naturalWidth).map((image) => image.alt)")
        found += [f"no picture: {alt}" for alt in broken]
        found += tab.evaluate(TOO_WIDE)
        if picture:
            tab.screenshot(path=picture, full_page=True)
    return found
