"""`fileroom doctor` as its users run it, against the real server."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.databases import free_port
from tests.dicomweb.objects import data_set, part10
from tests.made import uid
from tests.served import Served
from tests.server.cli.commands import fileroom
from tests.server.cli.terminal import on_a_terminal
from tests.server.doctor.conftest import PATIENT

PATIENT_DATA = re.compile(r"Zebrawood|Quill|MRN-700|ACC-700|20200229")


def examined(*arguments: str) -> dict[str, Any]:
    finished = fileroom("doctor", *arguments, "--json")
    assert finished.stderr == ""
    document: dict[str, Any] = json.loads(finished.stdout)
    assert finished.returncode == (0 if document["good"] else 1)
    return document


def serious(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [finding for finding in document["findings"] if finding["severity"] not in ("note", "slow")]


def studies(served: Served) -> int:
    return len(requests.get(f"{served.dicomweb}/studies", timeout=60).json())


def test_everything_works_with_fileroom(archive: Served) -> None:
    before = studies(archive)
    document = examined(archive.dicomweb, "--store")
    assert serious(document) == []
    assert document["good"]
    assert {request["request"]: request["reason"] for request in document["requests"] if request["reason"]} == {}
    assert document["stays"] is None
    assert studies(archive) == before


def test_every_study_of_the_corpus(corpus: Path, tmp_path: Path) -> None:
    with Served(tmp_path / "data") as served:
        assert fileroom("import", "--data", tmp_path / "data", corpus / "studies").returncode == 0
        document = examined(served.dicomweb, "--store")
        assert serious(document) == []
        assert set(document["subjects"]) >= {"image", "multi-frame image", "waveform", "segmentation"}
        for study in requests.get(f"{served.dicomweb}/studies", timeout=60).json():
            uid = study["0020000D"]["Value"][0]
            assert serious(examined(served.dicomweb, "--study", uid, "--client", "cornerstone")) == []


def test_without_a_url_it_examines_the_server_of_the_configuration(archive: Served) -> None:
    finished = fileroom("doctor", "--client", "weasis", FILEROOM_HTTP__PORT=str(archive.http_port))
    assert finished.returncode == 0, finished.stdout
    assert finished.stdout.startswith(f"DICOMweb at {archive.dicomweb}\n")
    assert "ohif  " not in finished.stdout


def test_without_a_server_it_says_how_to_start_one() -> None:
    finished = fileroom("doctor", FILEROOM_HTTP__PORT=str(free_port()))
    assert finished.returncode == 1
    assert "fileroom serve" in finished.stderr
    assert finished.stdout == ""


def test_an_empty_server(tmp_path: Path) -> None:
    with Served(tmp_path / "data") as served:
        finished = fileroom("doctor", served.dicomweb)
        assert finished.returncode == 0, finished.stdout
        assert "no study" in finished.stdout
        stored = examined(served.dicomweb, "--store")
        assert serious(stored) == []
        outcomes = {request["request"]: request["outcome"] for request in stored["requests"]}
        assert outcomes["series metadata"] in ("pass", "slow")
        assert outcomes["store"] in ("pass", "slow")
        assert requests.get(f"{served.dicomweb}/studies", timeout=60).content in (b"", b"[]")


def test_no_patient_data_are_shown(archive: Served) -> None:
    family, given = PATIENT.split("^")
    listed = requests.get(f"{archive.dicomweb}/studies?PatientName={family}*", timeout=60)
    assert given in listed.text
    for format_ in (["--verbose"], ["--json"], ["--config-for", "ohif"], ["--config-for", "weasis"]):
        finished = fileroom("doctor", archive.dicomweb, *format_)
        assert finished.stdout
        assert not PATIENT_DATA.search(finished.stdout + finished.stderr)


def test_the_configuration_of_ohif_is_javascript_for_a_file(archive: Served) -> None:
    finished = fileroom("doctor", archive.dicomweb, "--client", "ohif", "--config-for", "ohif")
    assert finished.returncode == 0
    match = re.fullmatch(r"// [^\n]*\nwindow\.config = (\{.*\});\n", finished.stdout, re.DOTALL)
    assert match
    [source] = json.loads(match[1])["dataSources"]
    assert source["configuration"]["wadoRoot"] == archive.dicomweb
    assert source["configuration"]["supportsWildcard"] is True
    assert source["configuration"]["omitQuotationForMultipartRequest"] is True
    assert source["configuration"]["wadoUriRoot"] == f"{archive.url}/wado"


def test_the_configuration_of_dicomweb_client_runs(archive: Served, tmp_path: Path) -> None:
    import sys

    finished = fileroom("doctor", archive.dicomweb, "--client", "dicomweb-client", "--config-for", "dicomweb-client")
    script = finished.stdout + "print(len(studies), len(metadata), len(frame))\n"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    number, attributes, length = map(int, run.stdout.split())
    assert number > 1
    assert attributes > 10
    assert length > 0


def test_on_a_terminal(archive: Served) -> None:
    code, text = on_a_terminal("doctor", archive.dicomweb, "--verbose")
    assert code == 0, text
    assert "would break" in text
    assert "retrieve_instance_frames" in text
    assert "window.config" not in text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["ftp://somewhere/dicom-web"], "write a URL like"),
        (["http://"], "write a URL like"),
        (["http://127.0.0.1:1", "--header", "no colon"], "write a header like"),
        (["http://127.0.0.1:1", "--header", "A: b\r\nC: d"], "write a header like"),
        (["http://127.0.0.1:1", "--study", "1.2/../3"], "write a Study Instance UID"),
        (["--client", "osirix"], "is not one of"),
    ],
)
def test_arguments_that_cannot_be_used(arguments: list[str], complaint: str) -> None:
    finished = fileroom("doctor", *arguments)
    assert finished.returncode == 2
    assert complaint in finished.stderr


def test_a_url_in_any_of_its_forms(archive: Served) -> None:
    for url in (f"{archive.dicomweb}/", f"{archive.dicomweb}/studies", archive.dicomweb.replace("http://", "")):
        assert examined(url, "--client", "cornerstone")["url"] == archive.dicomweb
    finished = fileroom("doctor", archive.dicomweb.replace("http://", "http://somebody:pass@"))
    assert finished.stdout.startswith(f"DICOMweb at {archive.dicomweb}\n")
    assert "pass@" not in finished.stdout


def test_a_server_that_asks_who_comes(tmp_path: Path) -> None:
    where = ("--data", tmp_path / "data")
    made = fileroom("keys", "create", "doctor", "--permission", "read", "--permission", "write", *where)
    file = tmp_path / "token"
    file.write_text(made.stdout)
    with Served(tmp_path / "data", FILEROOM_HTTP__AUTHENTICATION__METHODS="api_keys") as served:
        uids = {"StudyInstanceUID": uid(7), "SeriesInstanceUID": uid(7, 1), "SOPInstanceUID": uid(7, 1, 1)}
        stored = requests.post(
            f"{served.dicomweb}/studies",
            part10(data_set(**uids)),
            headers={"Content-Type": "application/dicom", "X-API-Key": made.stdout.strip()},
            timeout=60,
        )
        assert stored.status_code == 200
        refused = fileroom("doctor", served.dicomweb)
        assert refused.returncode == 1
        assert "401" in refused.stdout
        known = fileroom("doctor", served.dicomweb, "--token-file", str(file))
        assert known.returncode == 0, known.stdout
        by_variable = fileroom("doctor", served.dicomweb, "--json", FILEROOM_TOKEN=made.stdout.strip())
        assert by_variable.returncode == 0, by_variable.stdout
        for text in (known.stdout, by_variable.stdout):
            assert made.stdout.strip()[-43:] not in text
    file.write_text("two words")
    assert fileroom("doctor", "http://127.0.0.1:1", "--token-file", file).returncode == 2
