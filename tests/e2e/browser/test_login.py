"""The viewer with login: nothing without it, what one may see after it, and tokens that are renewed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect
from pydicom import dcmread
from pydicom.uid import UID

from tests.e2e.browser.test_studies import only_canvas, wait_for_image
from tests.e2e.browser.watched_page import WatchedPage
from tests.made import uid
from tests.npm import ENVIRONMENT
from tests.oidc_issuer import AUDIENCE, CLIENT, PASSWORD, OidcIssuer
from tests.served import Served
from tests.server.cli.commands import fileroom

# tokens are renewed when a minute of them is left
RENEWED_AT_ONCE = 63


@dataclass(frozen=True)
class Site:
    served: Served
    issuer: OidcIssuer
    study_instance_uid: str


@pytest.fixture(scope="module")
def site(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A study of NORTH's and one of SOUTH's."""
    folder = tmp_path_factory.mktemp("login")
    data, files = folder / "data", folder / "files"
    files.mkdir()
    assert fileroom("viewer", "install", "--data", data, **ENVIRONMENT).returncode == 0
    images = [path for path in sorted((corpus / "studies" / "mr-sr").rglob("*")) if path.is_file()]
    chosen = [image for image in map(dcmread, images) if image.get("SeriesDescription") == "SAG T-1"][:3]
    for place, name in enumerate(("SOUTH", "NORTH"), 1):
        for number, image in enumerate(chosen):
            image.IssuerOfPatientID, image.PatientID, image.PatientName = name, f"ID-{name}", f"{name}^Patient"
            image.StudyInstanceUID, image.SeriesInstanceUID = UID(uid(place)), UID(uid(place, 1))
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = UID(uid(place, 1, number))
            image.save_as(files / f"{name}-{number}.dcm")
    assert fileroom("import", "--data", data, files).returncode == 0
    with OidcIssuer(folder, RENEWED_AT_ONCE) as issuer:
        settings = {
            "METHODS": "oidc,api_keys",
            "ISSUER": issuer.url,
            "AUDIENCE": AUDIENCE,
            "SCOPE_CLAIM": "issuers",
            "VIEWER_CLIENT_ID": CLIENT,
        }
        environment = {f"FILEROOM_HTTP__AUTHENTICATION__{name}": value for name, value in settings.items()}
        with Served(data, **environment) as served:
            yield Site(served, issuer, uid(2))


@pytest.fixture
def watched(context: BrowserContext, site: Site) -> WatchedPage:
    return WatchedPage(context, site.served.url, site.issuer.origin)


def log_in(watched: WatchedPage, site: Site, name: str) -> None:
    page = watched.page
    page.wait_for_url(re.compile(f"^{re.escape(site.issuer.url)}/auth"))
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button").click()
    page.wait_for_url(re.compile(f"^{re.escape(site.served.url)}/"))


def test_the_list_has_what_one_may_see(watched: WatchedPage, site: Site) -> None:
    watched.open("/")
    log_in(watched, site, "bob")
    watched.page.get_by_text("NORTH, Patient").wait_for()
    expect(watched.page.get_by_text("SOUTH, Patient")).to_have_count(0)
    assert watched.page.url.startswith(f"{site.served.url}/viewer")
    assert watched.complaints == []


def test_a_link_to_a_study_leads_there_after_the_login(watched: WatchedPage, site: Site) -> None:
    """Metadata, frames that workers fetch, thumbnails: all with the token; and it is renewed meanwhile."""
    before = site.issuer.asked()["tokens"]
    watched.open(f"/viewer/viewer?StudyInstanceUIDs={site.study_instance_uid}")
    log_in(watched, site, "alice")
    watched.page.get_by_text("Skip all").click()
    assert f"StudyInstanceUIDs={site.study_instance_uid}" in watched.page.url
    wait_for_image(watched, only_canvas(watched))
    watched.until(lambda: site.issuer.asked()["tokens"] >= before + 3, "the token is renewed, and again")
    watched.page.locator("[data-cy=return-to-work-list]").click()
    watched.page.get_by_text("SOUTH, Patient").wait_for()
    watched.page.get_by_text("NORTH, Patient").wait_for()
    assert watched.complaints == []


def test_log_out(watched: WatchedPage, site: Site) -> None:
    watched.open("/")
    log_in(watched, site, "bob")
    watched.page.get_by_text("NORTH, Patient").wait_for()
    # as OHIF's menu does it
    here = "encodeURIComponent(location.origin + '/viewer/logged-out.html')"
    go = f"history.pushState({{}}, '', '/viewer/logout?redirect_uri=' + {here})"
    watched.page.evaluate(f"{go}; dispatchEvent(new PopStateEvent('popstate'))")
    watched.page.get_by_text("You are logged out.").wait_for()
    watched.page.get_by_role("link").click()
    watched.page.get_by_label("Password").wait_for()
    assert watched.page.url.startswith(f"{site.issuer.url}/auth")
    assert watched.complaints == []


def test_who_may_not_read_sees_nothing(watched: WatchedPage, site: Site) -> None:
    watched.open("/")
    log_in(watched, site, "eve")
    watched.until(lambda: any(status == 403 for _, status, _ in watched.answers), "the search is refused")
    expect(watched.page.get_by_text("Patient", exact=False).filter(has_text="NORTH, Patient")).to_have_count(0)


def test_who_cannot_log_in_gets_no_further(watched: WatchedPage, site: Site) -> None:
    watched.open("/")
    page = watched.page
    page.wait_for_url(re.compile(f"^{re.escape(site.issuer.url)}/auth"))
    page.get_by_label("Name").fill("alice")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button").click()
    page.get_by_label("Password").wait_for()
    assert not any("/dicom-web/" in path for _, _, path in watched.answers)
