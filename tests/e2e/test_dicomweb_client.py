"""The package `dicomweb-client` against a server started as in the README, on every database."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dicomweb_client import DICOMwebClient
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from requests import HTTPError

from tests.databases import DATABASES, Databases
from tests.served import Served

NAMES = ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "SC_rgb_rle_2frame.dcm", "examples_rgb_color.dcm")


def sample(name: str) -> Dataset:
    return dcmread(Path(str(get_testdata_file(name))))


@pytest.fixture(scope="module", params=DATABASES)
def client(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DICOMwebClient]:
    folder = tmp_path_factory.mktemp("dicomweb")
    with databases.fresh(request.param, folder) as url, Served(folder / "data", url) as served:
        client = DICOMwebClient(served.dicomweb)
        client.store_instances([sample(name) for name in NAMES])
        yield client


def test_search(client: DICOMwebClient) -> None:
    ct = sample("CT_small.dcm")
    studies = client.search_for_studies(search_filters={"PatientName": "compressed*"}, fields=["StudyDescription"])
    assert ct.StudyInstanceUID in [study["0020000D"]["Value"][0] for study in studies]
    [series] = client.search_for_series(ct.StudyInstanceUID)
    assert series["00080060"]["Value"] == ["CT"]
    [instance] = client.search_for_instances(ct.StudyInstanceUID, ct.SeriesInstanceUID)
    assert instance["00080018"]["Value"] == [ct.SOPInstanceUID]
    assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []


@pytest.mark.parametrize("name", NAMES)
def test_retrieve(client: DICOMwebClient, name: str) -> None:
    dataset = sample(name)
    uids = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
    metadata = client.retrieve_instance_metadata(*uids)
    read = Dataset.from_json(
        metadata, bulk_data_uri_handler=lambda tag, vr, uri: bytes(client.retrieve_bulkdata(uri)[0])
    )
    assert read.PatientName == dataset.PatientName
    assert read.Rows == dataset.Rows
    instance = client.retrieve_instance(*uids, media_types=(("application/dicom", "*"),))
    assert instance.PixelData == dataset.PixelData
    assert instance == dataset or len(instance) == len(dataset)
    [series] = client.retrieve_series(*uids[:2], media_types=(("application/dicom", "*"),))
    assert series.SOPInstanceUID == dataset.SOPInstanceUID


def test_frames(client: DICOMwebClient) -> None:
    dataset = sample("examples_rgb_color.dcm")
    uids = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
    [frame] = client.retrieve_instance_frames(*uids, [1])
    assert frame == dataset.PixelData[: len(frame)]
    assert len(frame) == dataset.Rows * dataset.Columns * 3


def test_what_is_not_there_is_404(client: DICOMwebClient) -> None:
    with pytest.raises(HTTPError, match="404"):
        client.retrieve_study_metadata("1.2.3")
