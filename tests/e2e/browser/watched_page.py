"""A page in Chromium that remembers everything that went wrong in it, and what is to be seen on it."""

import base64
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import mkstemp
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Request, Response

SECONDS = 120
# Where pictures for the documentation go: `make screenshots`.
SCREENSHOTS = os.environ.get("SCREENSHOTS")

Pixels = NDArray[np.uint8]


class WatchedPage:
    """`complaints` are answers of 400 and more, failed requests, requests to other hosts, and errors of scripts."""

    def __init__(self, context: BrowserContext, origin: str, *also_allowed: str) -> None:
        self.origin = origin
        self.page: Page = context.new_page()
        self.page.set_default_timeout(SECONDS * 1000)
        self.complaints: list[str] = []
        self.answers: list[tuple[str, int, str]] = []
        self._allowed = (origin, *also_allowed)
        # a worker's requests are those of its context
        context.on("request", self._requested)
        context.on("response", self._answered)
        context.on("requestfailed", self._failed)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def open(self, path: str) -> None:
        self.page.goto(self.origin + path)

    def open_study(self, path: str) -> None:
        """Opens it and takes the tour away that a first visit shows."""
        self.open(path)
        self.page.get_by_text("Skip all").click()

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Waits for it; complains of `what` in the end."""
        for _ in range(SECONDS * 4):
            if holds():
                return
            self.page.wait_for_timeout(250)
        picture = Path(mkstemp(prefix="browser-", suffix=".png")[1])
        self.page.screenshot(path=picture)
        raise AssertionError(f"not after {SECONDS} s: {what}; see {picture}; complaints: {self.complaints}")

    def screenshot(self, name: str) -> None:
        """A picture for the documentation, when these are made."""
        if SCREENSHOTS:
            self.page.mouse.move(0, 0)
            self.page.wait_for_timeout(1000)
            image = Image.open(BytesIO(self.page.screenshot())).convert("RGB")
            image.save(Path(SCREENSHOTS) / f"{name}.jpg", quality=80, optimize=True)

    def _requested(self, request: Request) -> None:
        if request.url.startswith(("http:", "https:", "ws:", "wss:")) and not request.url.startswith(self._allowed):
            self.complaints.append(f"a request to another host: {request.url}")

    def _answered(self, response: Response) -> None:
        path = urlsplit(response.url).path
        self.answers.append((response.request.method, response.status, path))
        if response.status >= 400:
            self.complaints.append(f"{response.status} for {response.request.method} {response.url}")

    def _failed(self, request: Request) -> None:
        # the viewer takes requests back that it does not need any more
        if request.failure != "net::ERR_ABORTED" and request.url.startswith("http"):
            self.complaints.append(f"{request.failure} for {request.method} {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"in the console: {message.text[:500]}")


def canvas_pixels(canvas: Locator) -> Pixels:
    """What is drawn on a canvas, without what lies over it: rows, columns, RGB."""
    url = str(canvas.evaluate("canvas => canvas.width && canvas.height ? canvas.toDataURL('image/png') : ''"))
    if not url:
        return np.zeros((1, 1, 3), np.uint8)
    image = Image.open(BytesIO(base64.b64decode(url.partition(",")[2])))
    black = Image.new("RGBA", image.size, "black")
    return np.asarray(Image.alpha_composite(black, image.convert("RGBA")).convert("RGB"))


def grey_levels(pixels: Pixels) -> int:
    """How many different ones there are: 1 of a blank picture."""
    return len(np.unique(pixels.mean(axis=2).astype(np.uint8)))


def coverage(pixels: Pixels) -> float:
    """The share of pixels that are not the background, which is the most frequent level."""
    levels = np.bincount(pixels.mean(axis=2).astype(np.uint8).ravel(), minlength=256)
    return float(1 - levels.max() / levels.sum())


def coloured(pixels: Pixels) -> float:
    """The share of pixels that are not grey."""
    spread = pixels.max(axis=2).astype(int) - pixels.min(axis=2)
    return float((spread > 24).mean())


def shows_an_image(pixels: Pixels) -> bool:
    return grey_levels(pixels) >= 40 and coverage(pixels) >= 0.1
