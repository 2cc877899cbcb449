"""Chromium, and a `fileroom serve` that offers the viewer, with the corpus' whole studies and many small ones."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright, expect, sync_playwright
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID

from tests.e2e.browser.watched_page import SECONDS, WatchedPage
from tests.made import made, part10, uid
from tests.npm import ENVIRONMENT, npm_package
from tests.served import Served
from tests.server.cli.commands import fileroom

SMALL_STUDIES = 140
MEASURED_STUDY = uid(70)
SLIDE_STUDY = uid(71)

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]


@pytest.fixture(scope="session")
def served(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One for all browser tests."""
    folder = tmp_path_factory.mktemp("browser")
    data = folder / "data"
    installed = fileroom("viewer", "install", "--data", data, **ENVIRONMENT)
    assert installed.returncode == 0, installed.stderr
    small = folder / "small"
    small.mkdir()
    for number in range(1, SMALL_STUDIES + 1):
        (small / f"{number}.dcm").write_bytes(part10(small_study(number)))
    write_measured_study(corpus, small)
    write_slide(corpus, small)
    imported = fileroom("import", "--data", data, corpus / "studies", small)
    assert imported.returncode == 0, imported.stderr
    with Served(data) as served:
        yield served


def small_study(number: int) -> Dataset:
    """Studies older than all others, so that they come last in the list."""
    return made(
        StudyInstanceUID=uid(50, number),
        SeriesInstanceUID=uid(50, number, 1),
        SOPInstanceUID=uid(50, number, 1, 1),
        PatientID=f"MANY{number}",
        PatientName=f"Many^Number{number:03}",
        StudyDate=f"19{30 + number % 20}0101",
        StudyDescription="one of many",
        Modality="NM",
    )


def write_measured_study(corpus: Path, folder: Path) -> None:
    """A study of its own for the test that adds to one: some images of another."""
    images = [dcmread(path) for path in sorted((corpus / "studies" / "mr-sr").rglob("*")) if path.is_file()]
    chosen = [image for image in images if image.get("SeriesDescription") == "SAG T-1"][:5]
    for number, image in enumerate(chosen, 1):
        image.StudyInstanceUID, image.SeriesInstanceUID = MEASURED_STUDY, f"{MEASURED_STUDY}.1"
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = UID(f"{MEASURED_STUDY}.1.{number}")
        image.PatientID, image.PatientName, image.StudyDate = "MEASURED", "Measured^Once", "19290101"
        image.save_as(folder / f"measured-{number}.dcm")


def write_slide(corpus: Path, folder: Path) -> None:
    slide = dcmread(corpus / "files/ImagingDataCommons_highdicom/data/test_files/sm_image.dcm")
    slide.StudyInstanceUID, slide.StudyDate, slide.PatientName = SLIDE_STUDY, "19280101", "Whole^Slide"
    slide.save_as(folder / "slide.dcm")


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    expect.set_options(timeout=SECONDS * 1000)
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    if _CHROMIUM is None:
        pytest.fail("there is no Chromium; tests/install-debian-packages chromium")
    browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A visitor who was never here."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, service_workers="block")
    yield context
    context.close()


@pytest.fixture
def watched(context: BrowserContext, served: Served, request: pytest.FixtureRequest) -> Iterator[WatchedPage]:
    """A page at the server; in the end nothing may have gone wrong in it."""
    watched = WatchedPage(context, served.url)
    yield watched
    assert watched.complaints == []


@pytest.fixture(scope="session")
def javascript_client(request: pytest.FixtureRequest) -> str:
    """The script of the npm package dicomweb-client."""
    cache = request.config.cache
    assert cache is not None
    folder = npm_package(
        "dicomweb-client",
        "0.11.3",
        "sha512-7t1Rc/01fyFnKlQeNPW9Pvxvmsx8R/BgB2n7BxTuWirRFwlTC5upEeLeS3vO72P+n6/SQZ3+5ij0bgaWDHQG/A==",
        Path(cache.mkdir("npm")),
    )
    return (folder / "package" / "build" / "dicomweb-client.js").read_text(encoding="utf-8")
