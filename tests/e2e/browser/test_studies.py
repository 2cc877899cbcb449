"""Whole studies in the viewer: what is stored is to be seen."""

from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import requests
from PIL import Image
from playwright.sync_api import Locator, expect
from pydicom import dcmread

from tests.corpus import corpus_studies
from tests.e2e.browser.conftest import SLIDE_STUDY
from tests.e2e.browser.watched_page import WatchedPage, canvas_pixels, coloured, coverage, grey_levels, shows_an_image
from tests.served import Served


def study_instance_uid(corpus: Path, name: str) -> str:
    file = next(path for path in corpus_studies() if path.is_relative_to(corpus / "studies" / name))
    return str(dcmread(file, stop_before_pixels=True).StudyInstanceUID)


def canvases(watched: WatchedPage) -> list[Locator]:
    return watched.page.locator("[data-cy=viewport-pane] canvas").all()


def only_canvas(watched: WatchedPage) -> Locator:
    watched.until(lambda: len(canvases(watched)) == 1, "one pane")
    return canvases(watched)[0]


def wait_for_image(watched: WatchedPage, canvas: Locator) -> None:
    watched.until(lambda: shows_an_image(canvas_pixels(canvas)), "the canvas shows an image")


def test_magnetic_resonance(watched: WatchedPage, corpus: Path) -> None:
    watched.open_study(f"/viewer?StudyInstanceUIDs={study_instance_uid(corpus, 'mr-sr')}")
    assert "/viewer/viewer?StudyInstanceUIDs=" in watched.page.url
    canvas = only_canvas(watched)
    wait_for_image(watched, canvas)
    assert coloured(canvas_pixels(canvas)) == 0
    first = canvas_pixels(canvas)
    canvas.hover()
    for place in range(2, 6):  # through the stack
        watched.page.mouse.wheel(0, 100)
        watched.page.get_by_text(f"({place}/26)").wait_for()
    watched.until(lambda: (canvas_pixels(canvas) != first).mean() > 0.05, "another image of the stack")
    wait_for_image(watched, canvas)


def test_structured_reports_are_listed_and_open(watched: WatchedPage, corpus: Path) -> None:
    watched.open_study(f"/viewer?StudyInstanceUIDs={study_instance_uid(corpus, 'mr-sr')}")
    reports = watched.page.locator("[data-cy=study-browser-thumbnail-no-image]")
    expect(reports).to_have_count(2)
    for description in ("SR-ARROW-ELIPSE", "SR_LEN_BDIR"):
        expect(reports.filter(has_text=description)).to_have_count(1)
    reports.filter(has_text="SR_LEN_BDIR").dblclick()
    watched.page.locator("svg line").first.wait_for(state="attached")  # its measurements
    wait_for_image(watched, only_canvas(watched))


def placed(canvas: Locator) -> tuple[float, float, float]:
    """Sorts panes by their height, then row by row."""
    box = canvas.bounding_box()
    assert box is not None
    return box["height"], box["y"], box["x"]


def shows_levels(canvas: Locator) -> bool:
    return grey_levels(canvas_pixels(canvas)) >= 40


def shows_colours(canvas: Locator) -> bool:
    return coloured(canvas_pixels(canvas)) > 0.05


def is_grey_image(canvas: Locator) -> bool:
    pixels = canvas_pixels(canvas)
    return coloured(pixels) < 0.01 and coverage(pixels) > 0.1


def test_fusion(watched: WatchedPage, corpus: Path) -> None:
    watched.open(f"/tmtv?StudyInstanceUIDs={study_instance_uid(corpus, 'petct')}")
    watched.until(lambda: len(canvases(watched)) == 10, "ten panes")

    *nine, mip = sorted(canvases(watched), key=placed)
    rows = [nine[row : row + 3] for row in (0, 3, 6)]
    for canvas in (*nine, mip):
        watched.until(partial(shows_levels, canvas), "a pane of the fusion")
    for canvas in rows[2]:
        watched.until(partial(shows_colours, canvas), "PET in colours over CT")
    watched.until(lambda: coverage(canvas_pixels(mip)) > 0.05, "the maximum intensity projection")
    for canvas in (*rows[0], *rows[1]):  # PET black on white or, where OHIF inverts twice, white on black
        watched.until(partial(is_grey_image, canvas), "CT and PET in grey")
    watched.screenshot("viewer-fusion")


def test_segmentation(watched: WatchedPage, corpus: Path) -> None:
    watched.open_study(f"/viewer?StudyInstanceUIDs={study_instance_uid(corpus, 'petct')}")
    watched.page.locator("[data-cy=study-browser-thumbnail-no-image]").filter(
        has_text="PT - 2 - Segmentation"
    ).dblclick()
    watched.page.get_by_text("Yes", exact=True).click()  # do you want to open this segmentation?
    canvas = only_canvas(watched)

    def shows_segments() -> bool:
        pixels = canvas_pixels(canvas)
        return coloured(pixels) > 0.005 and shows_an_image(pixels)

    watched.until(shows_segments, "the segments in their colours over the image")
    watched.page.locator("[data-cy=panelSegmentation-btn]").click()
    watched.page.get_by_text("PT - 2 - Segmentation").nth(1).wait_for()  # listed in the panel as well
    watched.screenshot("viewer-segmentation")


def test_electrocardiogram(watched: WatchedPage, corpus: Path) -> None:
    watched.open_study(f"/viewer?StudyInstanceUIDs={study_instance_uid(corpus, 'ecg')}")
    canvas = only_canvas(watched)

    def columns_of_the_trace() -> float:
        """The share of columns with something white in them: neither grid nor labels are."""
        return float((canvas_pixels(canvas).min(axis=2) > 128).any(axis=0).mean())

    watched.until(lambda: columns_of_the_trace() > 0.95, "traces from one side to the other")
    assert any("/bulkdata/" in path and status == 200 for _, status, path in watched.answers)
    watched.screenshot("viewer-ecg")


def test_pdf(watched: WatchedPage, corpus: Path) -> None:
    uid = study_instance_uid(corpus, "pdf")
    watched.open_study(f"/viewer?StudyInstanceUIDs={uid}")
    shown = watched.page.locator("object[type='application/pdf']")
    shown.wait_for()
    content = watched.page.evaluate(
        "async url => [...new Uint8Array(await (await fetch(url)).arrayBuffer())]", shown.get_attribute("data")
    )
    [file] = [path for path in corpus_studies() if path.is_relative_to(corpus / "studies" / "pdf")]
    assert bytes(content) == dcmread(file).EncapsulatedDocument[: len(content)]
    assert bytes(content).startswith(b"%PDF-")


def test_high_throughput_jpeg_2000(watched: WatchedPage, corpus: Path, served: Served) -> None:
    uid = study_instance_uid(corpus, "dx-htj2k")
    [instance] = requests.get(f"{served.dicomweb}/studies/{uid}/instances?includefield=00083002", timeout=60).json()
    assert instance["00083002"]["Value"][0].startswith("1.2.840.10008.1.2.4.20")
    watched.open_study(f"/viewer?StudyInstanceUIDs={uid}")
    canvas = only_canvas(watched)
    wait_for_image(watched, canvas)
    assert any(path.endswith("/frames/1") and status == 200 for _, status, path in watched.answers)


def test_whole_slide(watched: WatchedPage) -> None:
    watched.open(f"/microscopy?StudyInstanceUIDs={SLIDE_STUDY}")
    pane = watched.page.locator("[data-cy=viewport-pane]")

    def shows_the_slide() -> bool:
        """A bright field in the middle; around it the pane is black."""
        pixels = np.asarray(Image.open(BytesIO(pane.screenshot())).convert("RGB"))
        rows, columns = pixels.shape[:2]
        middle = pixels[rows * 2 // 5 : rows * 3 // 5, columns * 2 // 5 : columns * 3 // 5]
        return bool(np.median(middle) > 200 and np.median(pixels) < 50)

    watched.until(shows_the_slide, "the slide")
    assert any("/frames/" in path and status == 200 for _, status, path in watched.answers)
