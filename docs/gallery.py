"""Takes the pictures of docs/gallery.md and docs/demo.png anew, from the folder of a run and in a headless Chromium.

`python docs/gallery.py RUN`, of a finished `make demo`; what the pages show beside it is made by the commands in
docs/gallery.md, and what is not there is left out.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, sync_playwright

from d2plm_megatron.report import __main__ as report
from d2plm_megatron.runs.folder import RunFolder

DOCS = Path(__file__).parent
GALLERY = DOCS / "gallery"
SCREEN, TELEPHONE = 1280, 390
"""Widths in pixels."""

_RUN_SECTIONS = ("likelihood", "learning", "comparison", "mutations", "judgement", "novelty", "samples")
_HIGHEST = 1100
"""Of a picture, so that it has less than 250 kB."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium of the system, without a window."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"] if os.getuid() == 0 else [])
        yield browser
        browser.close()


def main(run: Path) -> None:
    """Writes the page of a run and that of its samples, and takes pictures of their parts."""
    GALLERY.mkdir(exist_ok=True)
    samples, corpus = RunFolder(run).samples, run / "data" / "corpus.fasta"
    with TemporaryDirectory() as folder, chromium() as browser:
        of_run, of_samples = Path(folder, "run.html"), Path(folder, "samples.html")
        named = {"samples": None, "evaluation": None, "show": None}
        report.main(run, **named, reference=corpus if corpus.exists() else None, output=of_run)
        report.main(samples, **named, reference=None, output=of_samples)
        take(browser, of_run, DOCS / "demo.png", SCREEN)
        for section in _RUN_SECTIONS:
            take(browser, of_run, GALLERY / f"{section}.png", SCREEN, section)
        take(browser, of_run, GALLERY / "dark.png", SCREEN, dark=True)
        take(browser, of_run, GALLERY / "telephone.png", TELEPHONE, height=1400)
        take(browser, of_samples, GALLERY / "sample_set.png", SCREEN)


def take(
    browser: Browser, page: Path, picture: Path, width: int, section: str = "", dark: bool = False, height: int = 900
) -> None:
    """Takes a picture of the top of a page, or of one of its sections as far as it is there and fits."""
    scheme = "dark" if dark else "light"
    with browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme) as context:
        tab = context.new_page()
        tab.goto(page.resolve().as_uri())
        if section and not tab.locator(f"#{section}").count():
            return
        box = tab.locator(f"#{section}").bounding_box() if section else None
        clip = {"x": 0.0, "y": 0.0, "width": float(width), "height": float(height)}
        if box is not None:
            clip |= {"y": box["y"], "height": min(box["height"] + 24, _HIGHEST)}
        tab.screenshot(path=picture, clip=clip, full_page=True)
    print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
