"""The study list of the viewer: its rows, its filters, its pages."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser.conftest import SMALL_STUDIES
from tests.e2e.browser.watched_page import WatchedPage

STUDIES = SMALL_STUDIES + 9  # seven of the corpus, one to be measured, a slide


def rows(page: Page) -> list[list[str]]:
    """Patient, date, modalities, description, accession number, instances of each study that is shown."""
    found = page.locator("table tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    return [row[:6] for row in found if len(row) > 5 and "Reset" not in row]


def count(watched: WatchedPage, number: int) -> None:
    """Waits until the list says that it has so many studies."""
    expect(watched.page.get_by_text(re.compile(rf"^\d+-\d+ of {number}$"))).to_be_visible()


def patients(watched: WatchedPage) -> set[str]:
    return {row[0] for row in rows(watched.page)}


@pytest.fixture
def listed(watched: WatchedPage) -> WatchedPage:
    watched.open("/")
    count(watched, STUDIES)
    return watched


def test_the_start_leads_to_the_list_and_its_rows_are_right(listed: WatchedPage) -> None:
    assert listed.page.url.removeprefix(listed.origin).startswith("/viewer/")
    assert rows(listed.page)[:7] == [
        ["Test, Röntgen", "22-Sep-2021", "DX", "Thorax (kl.)", "", "1"],
        ["Dummy", "03-Mar-2018", "DOC\\MR", "WMHI", "1513616818133541", "37"],
        ["Anonymous", "25-Jan-2013 10:59 AM", "ECG", "ECG", "03028041970546", "1"],
        ["AAPM, Test Patterns", "17-Nov-2002 12:34 PM", "OT", "Noise 1K", "20022002", "4"],
        ["MISTER, MR", "08-Jan-2001 12:00 PM", "MR\\SR", "BRAIN SELLA", "0000000002", "61"],
        ["", "", "DOC", "No Description", "", "1"],
        ["ACRIN-NSCLC-FDG-PET-042", "16-Jan-1960", "CT\\PT\\RWV\\SEG", "LUNG DELAYS", "", "412"],
    ]


@pytest.mark.parametrize(
    ("written", "found"),
    [("MIS*R", {"MISTER, MR"}), ("rontgen", {"Test, Röntgen"}), ("acrin*PET", {"ACRIN-NSCLC-FDG-PET-042"})],
)
def test_filter_by_name(listed: WatchedPage, written: str, found: set[str]) -> None:
    listed.page.locator("table input").first.fill(written)
    count(listed, len(found))
    assert patients(listed) == found


def test_filter_by_modality(listed: WatchedPage) -> None:
    listed.page.locator("table input").nth(3).click()
    listed.page.get_by_role("option", name="MR", exact=True).click()
    count(listed, 3)
    assert patients(listed) == {"Dummy", "MISTER, MR", "Measured, Once"}


def test_filter_by_date(listed: WatchedPage) -> None:
    for field, date in (("start", "2001-01-01"), ("end", "2013-12-31")):
        listed.page.locator(f"#studyDateTime-{field}").fill(date)
    count(listed, 3)
    assert patients(listed) == {"Anonymous", "AAPM, Test Patterns", "MISTER, MR"}


def test_filter_in_the_address(watched: WatchedPage) -> None:
    watched.open("/viewer/?patientName=many*&startDate=19300101&endDate=19301231")
    count(watched, SMALL_STUDIES // 20)
    assert {row[1] for row in rows(watched.page)} == {"01-Jan-1930"}


def test_pages_beyond_the_first_hundred(listed: WatchedPage) -> None:
    page = listed.page
    seen: list[str] = []
    while True:
        text = page.get_by_text(re.compile(rf"^\d+-\d+ of {STUDIES}$")).inner_text()
        first, last = map(int, text.split(" ")[0].split("-"))
        assert first == len(seen) + 1
        seen += [row[0] for row in rows(page)]
        assert last == len(seen)
        if last == STUDIES:
            break
        page.get_by_role("button", name="Next").click()
        page.get_by_text(re.compile(rf"^{last + 1}-\d+ of {STUDIES}$")).wait_for()
    assert len(set(seen)) == STUDIES
    assert {f"Many, Number{number:03}" for number in range(1, SMALL_STUDIES + 1)} <= set(seen)


def test_a_study_opens_from_the_list(listed: WatchedPage) -> None:
    listed.page.get_by_text("AAPM, Test Patterns").first.dblclick()
    listed.page.wait_for_url(re.compile(r"/viewer/(viewer|basic)\?"))
    listed.page.get_by_text("Skip all").click()
    expect(listed.page.locator("[data-cy=study-browser-thumbnail]").first).to_be_visible()
    listed.page.locator("[data-cy=return-to-work-list]").click()
    count(listed, STUDIES)
    listed.page.reload()
    count(listed, STUDIES)


def test_the_preview_of_a_study_shows_its_series(watched: WatchedPage) -> None:
    watched.open("/viewer/?startDate=19500101")
    count(watched, 6)
    watched.page.get_by_text("MISTER, MR").click()
    for description in ("3-PLANE LOC", "SAG T-1", "COR T-1"):
        expect(watched.page.get_by_text(description).first).to_be_visible()
    pictures = watched.page.locator("img[src^='blob:'], img[src^='data:']")
    watched.until(lambda: pictures.count() >= 3, "a thumbnail of each series of images")
    widths = pictures.evaluate_all("images => images.map(image => image.naturalWidth)")
    assert min(widths) > 0
    watched.screenshot("viewer-list")
