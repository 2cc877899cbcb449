"""A measurement drawn in the viewer and saved as a structured report."""

import requests

from tests.e2e.browser.conftest import MEASURED_STUDY
from tests.e2e.browser.test_studies import only_canvas, wait_for_image
from tests.e2e.browser.watched_page import WatchedPage
from tests.served import Served

TITLE = "Length by a browser"


def reports(served: Served) -> list[dict[str, dict[str, object]]]:
    query = {"Modality": "SR", "SeriesDescription": TITLE}
    answer = requests.get(f"{served.dicomweb}/studies/{MEASURED_STUDY}/series", params=query, timeout=60)
    found: list[dict[str, dict[str, object]]] = answer.json() if answer.content else []
    return found


def test_a_length_is_measured_saved_and_there_again(watched: WatchedPage, served: Served) -> None:
    page = watched.page
    assert reports(served) == []
    watched.open_study(f"/viewer?StudyInstanceUIDs={MEASURED_STUDY}")
    canvas = only_canvas(watched)
    wait_for_image(watched, canvas)
    page.locator("[data-cy=MeasurementTools-split-button-primary]").click()  # the length
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.55, steps=5)
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.6, steps=5)
    page.mouse.up()
    page.get_by_text("Yes", exact=True).click()  # track measurements for this series?
    page.locator("[data-cy=trackedMeasurements-btn]").click()
    page.get_by_text("Measurements (1)").wait_for()
    watched.screenshot("viewer-measurement")
    page.get_by_text("Create SR").click()
    page.get_by_role("dialog").get_by_role("textbox").first.fill(TITLE)
    with page.expect_response(lambda answer: answer.request.method == "POST") as stored:
        page.get_by_role("dialog").get_by_text("Save", exact=True).click()
    assert (stored.value.status, stored.value.url) == (200, f"{served.dicomweb}/studies")
    listed = page.locator("[data-cy=study-browser-thumbnail-no-image]").filter(has_text=TITLE)
    listed.wait_for()

    [series] = reports(served)
    uid = series["0020000E"]["Value"][0]  # type: ignore[index]
    [metadata] = requests.get(f"{served.dicomweb}/studies/{MEASURED_STUDY}/series/{uid}/metadata", timeout=60).json()
    assert metadata["00080016"]["Value"] == ["1.2.840.10008.5.1.4.1.1.88.22"]  # Enhanced SR Storage
    assert "'Length'" in str(metadata)  # the meaning of the measurement's concept name code

    page.reload()
    listed.wait_for()
    page.goto(f"{watched.origin}/viewer/?patientName=Measured")
    page.get_by_text("MR\\SR").wait_for()
