"""Studies whose pixels are in the (fake) service, through a real server: DICOMweb as viewers ask it, and dcmtk."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from click.testing import CliRunner
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID

from fileroom_server.cli import main
from tests.databases import free_port
from tests.fakes.faults import Kind
from tests.fakes.frames import frames_of
from tests.fakes.image_set_documents import image_set_document
from tests.fakes.image_sets import ImageSet
from tests.fakes.medical_imaging import MedicalImaging
from tests.fakes.moto_server import Moto
from tests.fakes.small_image_sets import DESCRIPTION, named, update
from tests.made import made, part10, uid
from tests.scraped import Scrape
from tests.served import FILEROOM, Served

STUDY = uid(7)
SLICES = 6
SIDE = 64
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
FRAMES = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}  # as OHIF asks
AS_DICOM_JSON = {"Accept": "application/dicom+json"}


def pixels(series: int, number: int) -> Any:
    return (np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * (series + number)) % 4096


def slice_of(series: int, number: int) -> bytes:
    return part10(
        made(
            StudyInstanceUID=STUDY,
            SeriesInstanceUID=uid(7, series),
            SOPInstanceUID=uid(7, series, number),
            InstanceNumber=str(number),
            StudyDate="20240102",
            Rows=SIDE,
            Columns=SIDE,
            SamplesPerPixel=1,
            PhotometricInterpretation="MONOCHROME2",
            BitsAllocated=16,
            BitsStored=16,
            HighBit=15,
            PixelRepresentation=0,
            PixelData=pixels(series, number).tobytes(),
        )
    )


@dataclass
class Site:
    """A server with the plugin, the service that it speaks with, and a place where C-MOVE goes to."""

    served: Served
    service: MedicalImaging
    queue: str
    configuration: Path
    environment: dict[str, str]
    received: Path
    image_sets: list[ImageSet]

    def fileroom(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [FILEROOM, "healthimaging", *arguments, "--config", str(self.configuration)],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stderr
        return done

    def get(self, path: str, headers: dict[str, str] | None = None) -> requests.Response:
        return requests.get(f"{self.served.dicomweb}/{path}", headers=headers or AS_DICOM_JSON, timeout=60)

    def dcmtk(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [program, *arguments, "-aec", "FILEROOM", "127.0.0.1", str(self.served.dicom_port)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    @contextmanager
    def following(self, output: Path) -> Iterator[subprocess.Popen[str]]:
        """Whatever it is doing at the end, it is killed."""
        with output.open("w") as file:
            process = subprocess.Popen(
                [FILEROOM, "healthimaging", "follow", "--json", "--config", str(self.configuration)],
                env={**os.environ, **self.environment},
                stdout=file,
                text=True,
            )
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    def instances(self, **matches: str) -> int:
        answer = requests.get(f"{self.served.dicomweb}/instances", params=matches, headers=AS_DICOM_JSON, timeout=60)
        answer.raise_for_status()
        return len(answer.json()) if answer.status_code == 200 else 0

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture(scope="module")
def site(moto: Moto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    received, port = folder / "received", free_port()
    received.mkdir()
    with MedicalImaging() as service:
        queue = moto.new_queue()
        store = service.image_sets.create_datastore().datastore_id
        image_sets = []
        for series in (1, 2):
            contents = [slice_of(series, number) for number in range(1, SLICES + 1)]
            document, frames = image_set_document(contents, frames_of)
            image_sets.append(service.image_sets.add(store, document, frames))
        service.events.deliver_to(moto.client("sqs"), queue)
        configuration = folder / "fileroom.toml"
        configuration.write_text(
            f"""data = "{folder}/data"

[plugins.healthimaging]
endpoint_url = "{service.url}"
region = "us-east-1"
datastores = ["{store}"]
queue_url = "{queue}"
attempts = 2

[[peers]]
ae_title = "STORESCP"
host = "127.0.0.1"
port = {port}
"""
        )
        environment = {**moto.environment, **service.environment}
        peer = subprocess.Popen(["storescp", "-aet", "STORESCP", "+xa", "-od", str(received), str(port)])
        try:
            with Served(folder / "data", None, "--config", str(configuration), **environment) as served:
                site = Site(served, service, queue, configuration, environment, received, image_sets)
                done = site.fileroom("import", "--json")
                assert json.loads(done.stdout) == {"image_sets": 2, "listed": 2, "failures": {}}
                yield site
        finally:
            peer.kill()
            peer.wait()


def parts(answer: requests.Response) -> list[tuple[str, bytes]]:
    """Media type and content of each part of a multipart answer."""
    boundary = answer.headers["Content-Type"].partition("boundary=")[2].split(";")[0].strip('"')
    found = []
    for part in answer.content.split(f"--{boundary}".encode())[1:-1]:
        head, _, body = part.strip(b"\r\n").partition(b"\r\n\r\n")
        found.append((head.decode(), body))
    return found


def test_the_study_list(site: Site) -> None:
    [study] = site.get("studies?limit=101&offset=0&fuzzymatching=false&includefield=all&PatientName=doe*").json()
    assert study["0020000D"]["Value"] == [STUDY]
    assert study["00201208"]["Value"] == [2 * SLICES]
    assert study["00201206"]["Value"] == [2]


def test_series_and_their_metadata(site: Site) -> None:
    found = [one["0020000E"]["Value"][0] for one in site.get(f"studies/{STUDY}/series").json()]
    assert sorted(found) == [uid(7, 1), uid(7, 2)]
    metadata = site.get(f"studies/{STUDY}/series/{uid(7, 1)}/metadata").json()
    assert sorted(one["00080018"]["Value"][0] for one in metadata) == [uid(7, 1, number) for number in range(1, 7)]
    assert {one["00280010"]["Value"][0] for one in metadata} == {SIDE}
    assert {one["00083002"]["Value"][0] for one in metadata if "00083002" in one} <= {JPEG_2000_LOSSLESS}


@pytest.mark.parametrize("series", [1, 2])
def test_frames(site: Site, series: int) -> None:
    for number in range(1, SLICES + 1):
        path = f"studies/{STUDY}/series/{uid(7, series)}/instances/{uid(7, series, number)}/frames/1"
        answer = site.get(path, FRAMES)
        assert answer.status_code == 200, answer.text
        [(head, frame)] = parts(answer)
        assert JPEG_2000_LOSSLESS in head
        assert np.array_equal(decoded(frame), pixels(series, number))


def decoded(frame: bytes) -> Any:
    """Of JPEG 2000, by pydicom."""
    dataset = dcmread(BytesIO(slice_of(1, 1)))
    dataset.file_meta.TransferSyntaxUID = UID(JPEG_2000_LOSSLESS)
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    return dataset.pixel_array


def test_a_frame_is_kept(site: Site) -> None:
    path = f"studies/{STUDY}/series/{uid(7, 1)}/instances/{uid(7, 1, 1)}/frames/1"
    first = site.get(path, FRAMES)
    asked = site.service.requests.count("GetImageFrame")
    assert [body for _, body in parts(site.get(path, FRAMES))] == [body for _, body in parts(first)]
    assert site.service.requests.count("GetImageFrame") == asked


def test_decoded_frames(site: Site) -> None:
    path = f"studies/{STUDY}/series/{uid(7, 1)}/instances/{uid(7, 1, 2)}/frames/1"
    accept = "multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    [(_, frame)] = parts(site.get(path, {"Accept": accept}))
    assert np.array_equal(np.frombuffer(frame, np.uint16).reshape(SIDE, SIDE), pixels(1, 2))


def test_rendered(site: Site) -> None:
    path = f"studies/{STUDY}/series/{uid(7, 2)}/instances/{uid(7, 2, 3)}/rendered"
    answer = site.get(path, {"Accept": "image/png"})
    assert answer.status_code == 200, answer.text
    assert Image.open(BytesIO(answer.content)).size == (SIDE, SIDE)


def test_whole_objects(site: Site) -> None:
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    answer = site.get(f"studies/{STUDY}", {"Accept": accept})
    assert answer.status_code == 200, answer.text
    found = [dcmread(BytesIO(body)) for _, body in parts(answer)]
    assert len(found) == 2 * SLICES
    check(found)


def check(datasets: list[Any]) -> None:
    for dataset in datasets:
        _, series, number = dataset.SOPInstanceUID.rsplit(".", 2)
        assert np.array_equal(dataset.pixel_array, pixels(int(series), int(number)))


@pytest.mark.parametrize("preferred", ["+xv", "+x="])
def test_c_get(site: Site, tmp_path: Path, preferred: str) -> None:
    """As the service has it, and for a peer that takes nothing compressed."""
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY}"]
    answer = site.dcmtk("getscu", "-v", "-S", preferred, *keys, "-od", str(tmp_path))
    assert answer.returncode == 0, answer.stderr
    found = [dcmread(path) for path in tmp_path.iterdir()]
    assert len(found) == 2 * SLICES
    check(found)


def test_c_move(site: Site) -> None:
    keys = ["-k", "QueryRetrieveLevel=SERIES", "-k", f"StudyInstanceUID={STUDY}"]
    keys += ["-k", f"SeriesInstanceUID={uid(7, 1)}"]
    answer = site.dcmtk("movescu", "-v", "-S", "-aem", "STORESCP", *keys)
    assert answer.returncode == 0, answer.stderr
    found = [dcmread(path) for path in site.received.iterdir()]
    assert len(found) == SLICES
    check(found)


def test_c_find(site: Site) -> None:
    keys = ["-k", "QueryRetrieveLevel=IMAGE", "-k", f"StudyInstanceUID={STUDY}", "-k", "SOPInstanceUID"]
    keys += ["-k", f"SeriesInstanceUID={uid(7, 2)}"]
    answer = site.dcmtk("findscu", "-v", "-S", *keys)
    assert (answer.stdout + answer.stderr).count("(Pending)") == SLICES


def test_an_outage_says_what_to_do(site: Site) -> None:
    asked = site.image_sets[1]
    document, frames = image_set_document([slice_of(3, 1)], frames_of)
    image_set = site.service.image_sets.add(asked.datastore_id, document, frames)
    site.fileroom("import", f"datastore:{asked.datastore_id}/{image_set.image_set_id}")
    path = f"studies/{STUDY}/series/{uid(7, 3)}/instances/{uid(7, 3, 1)}/frames/1"
    site.service.faults.add(Kind.INTERNAL, "GetImageFrame", times=99)
    answer = site.get(path, FRAMES)
    site.service.faults.release()
    assert answer.status_code == 503
    assert "later" in answer.text
    assert site.get(path, FRAMES).status_code == 200
    site.service.client().delete_image_set(**named(image_set))
    site.fileroom("import", f"datastore:{asked.datastore_id}/{image_set.image_set_id}")
    assert site.instances(SeriesInstanceUID=uid(7, 3)) == 0


def test_stored_here_and_there_is_one_study(site: Site, tmp_path: Path) -> None:
    """An object of the study, and one that the service has too: what is here is given from here."""
    files = []
    for number in (1, 99):
        file = tmp_path / f"{number}.dcm"
        file.write_bytes(slice_of(2, number))
        files.append(str(file))
    sent = subprocess.run(
        ["storescu", "-aec", "FILEROOM", "127.0.0.1", str(site.served.dicom_port), *files],
        capture_output=True,
        text=True,
    )
    assert sent.returncode == 0, sent.stderr
    [study] = site.get(f"studies?StudyInstanceUID={STUDY}&includefield=all").json()
    assert study["00201208"]["Value"] == [2 * SLICES + 1]
    assert study["00201206"]["Value"] == [2]
    asked = site.service.requests.count("GetImageFrame")
    path = f"studies/{STUDY}/series/{uid(7, 2)}/instances/{uid(7, 2, 1)}/frames/1"
    assert site.get(path, FRAMES).status_code == 200
    assert site.service.requests.count("GetImageFrame") == asked
    # told of again, it stays as it is
    image_set = site.image_sets[1]
    update(site.service.client(), image_set, DESCRIPTION)
    site.fileroom("import")
    [study] = site.get(f"studies?StudyInstanceUID={STUDY}&includefield=all").json()
    assert study["00201208"]["Value"] == [2 * SLICES + 1]


def test_status(site: Site) -> None:
    told = json.loads(site.fileroom("status", "--json").stdout)
    [store] = told["datastores"]
    assert (store["image_sets"], store["problem"]) == (2, None)
    assert told["queue"]["problem"] is None


def test_status_while_the_service_is_away(site: Site) -> None:
    site.service.faults.add(Kind.INTERNAL, "GetDatastore", times=99)
    done = site.fileroom("status", "--json", code=1)
    site.service.faults.release()
    [store] = json.loads(done.stdout)["datastores"]
    assert "tried again later" in store["problem"]
    assert store["image_sets"] == 2


def test_following_until_it_is_told_to_stop(site: Site, tmp_path: Path) -> None:
    store = site.image_sets[0].datastore_id
    document, frames = image_set_document([slice_of(4, 1), slice_of(4, 2)], frames_of)
    with site.following(tmp_path / "killed.json"):
        image_set = site.service.image_sets.add(store, document, frames)
        site.wait_for(lambda: site.instances(SeriesInstanceUID=uid(7, 4)) == 2)
    # a receive that was under way when it was killed may take the event with it for ten minutes: the list does not
    site.service.client().delete_image_set(**named(image_set))
    with site.following(tmp_path / "stopped.json") as following:
        site.wait_for(lambda: site.instances(SeriesInstanceUID=uid(7, 4)) == 0)
        following.send_signal(signal.SIGTERM)
        assert following.wait(30) == 0
    assert json.loads((tmp_path / "stopped.json").read_text())["unusable"] == 0


def test_what_is_wrong_is_told(site: Site) -> None:
    assert "is not there" in site.fileroom("import", "s3://no-such-bucket-anywhere/x", code=1).stderr


def test_help_shows_an_example_and_the_options_of_every_command() -> None:
    for command in ("import", "follow", "status"):
        done = CliRunner().invoke(main, ["healthimaging", command, "--help"])
        assert done.exit_code == 0
        assert f"Example: fileroom healthimaging {command}" in done.output
        assert {"--config", "--data", "--database"} <= set(re.findall(r"--\w+", done.output))


def test_all_of_it_is_told_to_prometheus(site: Site, tmp_path: Path) -> None:
    """What the server asks for itself, and what commands beside it have done, also of one that is killed."""
    aws, frames = "fileroom_healthimaging_aws_requests_total", "fileroom_healthimaging_frames_total"
    path = f"studies/{STUDY}/series/{uid(7, 1)}/instances/{uid(7, 1, 5)}/frames/1"
    assert site.get(path, FRAMES).ok
    before = Scrape(site.served)
    assert before.value(aws, operation="GetImageFrame", outcome="ok") > 0
    # those of an outage too
    assert before.value(aws, operation="GetImageFrame") == before.value(frames, result="miss")
    assert before.value("fileroom_healthimaging_aws_request_duration_seconds_count", operation="GetImageFrame") > 0
    assert site.get(path, FRAMES).ok
    after = Scrape(site.served)
    assert after.value(frames, result="hit") == before.value(frames, result="hit") + 1
    kept = "fileroom_healthimaging_frame_bytes_total"
    assert after.value(kept, result="hit") > before.value(kept, result="hit")
    assert after.value(kept, result="miss") == before.value(kept, result="miss") > 0
    # by `import` when the module began
    assert after.value(aws, operation="SearchImageSets", outcome="ok") > 0
    assert after.value("fileroom_healthimaging_image_sets_total", outcome="taken") >= 2
    assert after.value("fileroom_healthimaging_conflicts_open") == 0

    store = site.image_sets[0].datastore_id
    document, of_it = image_set_document([slice_of(5, 1)], frames_of)
    events = after.value("fileroom_healthimaging_events_total", outcome="taken")
    with site.following(tmp_path / "killed.json"):
        image_set = site.service.image_sets.add(store, document, of_it)
        site.wait_for(
            lambda: Scrape(site.served).value("fileroom_healthimaging_events_total", outcome="taken") > events
        )
    assert Scrape(site.served).value(aws, operation="ReceiveMessage", outcome="ok") > 0
    site.service.client().delete_image_set(**named(image_set))
    site.fileroom("import")
    assert site.instances(SeriesInstanceUID=uid(7, 5)) == 0


def test_htj2k(site: Site, corpus: Path) -> None:
    """What the service makes of most images, here of somebody else's encoder."""
    file = corpus / "files/pydicom_pydicom-data/data_store/data/HTJ2KLossless_08_RGB.dcm"
    dataset = dcmread(file)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid(8), uid(8, 1)  # it has none
    whole = BytesIO()
    dataset.save_as(whole)
    document, frames = image_set_document([whole.getvalue()])
    store = site.service.image_sets.create_datastore().datastore_id
    image_set = site.service.image_sets.add(store, document, frames)
    site.fileroom("import", f"datastore:{store}/{image_set.image_set_id}")
    instance = f"studies/{uid(8)}/series/{uid(8, 1)}/instances/{dataset.SOPInstanceUID}"
    [(head, frame)] = parts(site.get(f"{instance}/frames/1", FRAMES))
    assert dataset.file_meta.TransferSyntaxUID in head
    assert frame == next(generate_frames(dataset.PixelData, number_of_frames=1))
    rendered = site.get(f"{instance}/rendered", {"Accept": "image/png"})
    assert np.array_equal(np.asarray(Image.open(BytesIO(rendered.content))), dataset.pixel_array)
