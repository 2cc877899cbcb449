"""fileroom behind a real reverse proxy, on a sub-path: every URL in every answer leads through the proxy."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urljoin

import pytest
import requests
from dicomweb_client import DICOMwebClient
from pydicom.uid import generate_uid

from tests.databases import free_port
from tests.dicomweb.objects import data_set, part10, parts
from tests.e2e.nginx import Nginx
from tests.served import Served

XML_PARTS = 'multipart/related; type="application/dicom+xml"'
OCTET_PARTS = 'multipart/related; type="application/octet-stream"'
URL = re.compile(r"https?://[^\s\"'<>\\]+")

# How nginx passes on what it was asked: by X-Forwarded-*, by Forwarded, or not at all, where base_url is set.
HEADERS = {
    "x-forwarded": (
        "proxy_set_header Host $proxy_host; proxy_set_header X-Forwarded-Host $host;"
        # dicomweb-client names no port in its Host header
        "proxy_set_header X-Forwarded-Port $server_port;"
        "proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-For $remote_addr;"
        "proxy_set_header X-Forwarded-Prefix /x-forwarded;"
    ),
    "forwarded": (
        'proxy_set_header Forwarded "for=$remote_addr;proto=$scheme;host=\\"$host:$server_port\\"";'
        "proxy_set_header X-Forwarded-Prefix /forwarded;"
    ),
    "base-url": "",
}


@dataclass(frozen=True)
class Proxied:
    """`url` is the proxy's, sub-path included."""

    url: str

    @property
    def dicomweb(self) -> str:
        return f"{self.url}/dicom-web"


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder, port = tmp_path_factory.mktemp("proxy"), free_port()
    told = {"FILEROOM_HTTP__BASE_URL": f"http://127.0.0.1:{port}/base-url"}
    with Served(folder / "one") as served, Served(folder / "other", None, **told) as set_up:
        behind = {"x-forwarded": served, "forwarded": served, "base-url": set_up}
        locations = "".join(
            f"location /{name}/ {{ proxy_pass {behind[name].url}/; {headers} }}\n" for name, headers in HEADERS.items()
        )
        with Nginx(folder / "nginx", port, locations) as nginx:
            yield {name: f"{nginx.url}/{name}" for name in HEADERS}


@pytest.fixture(params=HEADERS)
def proxied(request: pytest.FixtureRequest, urls: dict[str, str]) -> Proxied:
    return Proxied(urls[request.param])


@pytest.fixture
def instance(proxied: Proxied) -> str:
    """The URL of an instance with two values that are bulk data, as the answer to storing it says."""
    ds = data_set(PatientComments="x" * 2000)
    ds.private_block(0x0099, "FILEROOM TEST", create=True).add_new(1, "OB", bytes(5000))
    headers = {"Content-Type": "application/dicom"}
    answer = requests.post(f"{proxied.dicomweb}/studies", part10(ds), headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    assert all(url.startswith(proxied.url) for url in URL.findall(answer.text))
    return str(answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0])


def follow(proxied: Proxied, text: str) -> list[str]:
    found = sorted({url for url in URL.findall(text) if "127.0.0.1" in url or "localhost" in url})
    for url in found:
        assert url.startswith(f"{proxied.url}/"), url
        assert requests.get(url, timeout=30).status_code == 200, url
    return found


def test_what_is_stored_is_found_by_its_retrieve_url(proxied: Proxied, instance: str) -> None:
    assert instance.startswith(f"{proxied.dicomweb}/studies/")
    for url in (instance, instance.rpartition("/instances/")[0], instance.rpartition("/series/")[0]):
        assert requests.get(url, timeout=30).status_code == 200


@pytest.mark.parametrize("accept", ["application/dicom+json", XML_PARTS])
@pytest.mark.parametrize("path", ["studies", "series", "instances"])
def test_searches(proxied: Proxied, instance: str, path: str, accept: str) -> None:
    answer = requests.get(f"{proxied.dicomweb}/{path}", headers={"Accept": accept}, timeout=30)
    assert any(url in instance for url in follow(proxied, answer.text))


@pytest.mark.parametrize("accept", ["application/dicom+json", XML_PARTS])
def test_metadata(proxied: Proxied, instance: str, accept: str) -> None:
    for url in (instance, instance.rpartition("/series/")[0]):
        answer = requests.get(f"{url}/metadata", headers={"Accept": accept}, timeout=30)
        assert [url.rpartition("/")[2] for url in follow(proxied, answer.text)] == ["00991001", "7FE00010"]


def test_parts_name_where_they_come_from(proxied: Proxied, instance: str) -> None:
    answer = requests.get(f"{instance}/bulkdata/00991001", headers={"Accept": OCTET_PARTS}, timeout=30)
    assert parts(answer.headers["Content-Type"], answer.content) == [("application/octet-stream", bytes(5000))]
    assert follow(proxied, answer.content.decode("latin-1")) == [f"{instance}/bulkdata/00991001"]


def test_warnings_name_the_service(proxied: Proxied, instance: str) -> None:
    answer = requests.get(f"{proxied.dicomweb}/studies?orderby=StudyDate", timeout=30)
    assert proxied.dicomweb in answer.headers["Warning"]


def test_pages(proxied: Proxied, instance: str) -> None:
    """The start page and what it leads to."""
    page = requests.get(f"{proxied.url}/", timeout=30)
    assert page.status_code == 200
    for link in set(re.findall(r'href="([^"#]+)"', page.text)):
        url = urljoin(page.url, link)
        if "127.0.0.1" in url:
            assert url.startswith(f"{proxied.url}/"), link
            assert requests.get(url, timeout=30).status_code == 200, link


def test_slashes_lead_nowhere_else(proxied: Proxied, instance: str) -> None:
    for url in (f"{proxied.dicomweb}/studies/", f"{instance}/"):
        answer = requests.get(url, timeout=30, allow_redirects=False)
        assert answer.status_code == 200


def test_dicomweb_client(proxied: Proxied, instance: str) -> None:
    client = DICOMwebClient(proxied.dicomweb)
    study, series, sop = instance.split("/")[-5::2]
    metadata = client.retrieve_instance_metadata(study, series, sop)
    (value,) = client.retrieve_bulkdata(metadata["00991001"]["BulkDataURI"])
    assert value == bytes(5000)
    octets = (("application/octet-stream", "1.2.840.10008.1.2.1"),)
    (part,) = client.retrieve_bulkdata(metadata["7FE00010"]["BulkDataURI"], octets, byte_range=(10, 19))
    assert part == bytes(range(10, 20))
    (frame,) = client.retrieve_instance_frames(study, series, sop, [1])
    assert frame == bytes(range(128))


def test_compressed_answers_and_304_pass(proxied: Proxied, instance: str) -> None:
    first = requests.get(f"{instance}/metadata", headers={"Accept-Encoding": "gzip"}, timeout=30)
    assert first.headers["Content-Encoding"] == "gzip"
    again = requests.get(f"{instance}/metadata", headers={"If-None-Match": first.headers["ETag"]}, timeout=30)
    assert again.status_code == 304


def test_errors_pass(proxied: Proxied) -> None:
    uid = generate_uid()
    answer = requests.get(f"{proxied.dicomweb}/studies/{uid}/metadata", timeout=30)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")


def test_xml_is_well_formed_through_the_proxy(proxied: Proxied, instance: str) -> None:
    answer = requests.get(f"{instance}/metadata", headers={"Accept": "application/dicom+xml"}, timeout=30)
    assert len(ET.fromstring(answer.content)) > 10
