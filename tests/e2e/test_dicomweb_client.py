"""The package `dicomweb-client` against a server started as in the README, on every database."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
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


def test_other_ways_to_retrieve(client: DICOMwebClient) -> None:
    dataset = sample("SC_rgb_rle_2frame.dcm")
    study, series, instance = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    as_stored = (("application/dicom", "*"),)
    for found in (
        client.retrieve_study(study, media_types=as_stored),
        list(client.iter_study(study, media_types=as_stored)),
        list(client.iter_series(study, series, media_types=as_stored)),
    ):
        assert instance in [one.SOPInstanceUID for one in found]
    for metadata in (client.retrieve_study_metadata(study), client.retrieve_series_metadata(study, series)):
        assert instance in [one["00080018"]["Value"][0] for one in metadata]
    frames = list(client.iter_instance_frames(study, series, instance, [1, 2]))
    assert frames == client.retrieve_instance_frames(study, series, instance, [1, 2])
    octets = (("application/octet-stream", "1.2.840.10008.1.2.1"),)
    frames = client.retrieve_instance_frames(study, series, instance, [1, 2], media_types=octets)
    assert frames == [dataset.pixel_array[number].tobytes() for number in (0, 1)]
    uri = client.retrieve_instance_metadata(study, series, instance)["7FE00010"]["BulkDataURI"]
    assert [bytes(chunk) for chunk in client.iter_bulkdata(uri)] == [
        bytes(one) for one in client.retrieve_bulkdata(uri)
    ]


@pytest.mark.parametrize("transfer_syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"])
def test_other_transfer_syntaxes(client: DICOMwebClient, transfer_syntax: str) -> None:
    dataset = sample("CT_small.dcm")
    uids = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
    received = client.retrieve_instance(*uids, media_types=(("application/dicom", transfer_syntax),))
    assert received.file_meta.TransferSyntaxUID == transfer_syntax
    assert (received.pixel_array == dataset.pixel_array).all()


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png"])
def test_rendered(client: DICOMwebClient, media_type: str) -> None:
    dataset = sample("CT_small.dcm")
    study, series, instance = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    pictures = (
        client.retrieve_instance_rendered(study, series, instance, media_types=(media_type,)),
        client.retrieve_instance_frames_rendered(study, series, instance, [1], media_types=(media_type,)),
        client.retrieve_instance_rendered(
            study, series, instance, media_types=(media_type,), params={"window": "40,400,linear", "viewport": "64,64"}
        ),
    )
    assert [Image.open(BytesIO(picture)).size for picture in pictures] == [(128, 128), (128, 128), (64, 64)]
    assert client.retrieve_series_rendered(study, series, media_types=(media_type,))


def test_delete(client: DICOMwebClient) -> None:
    made = [sample("CT_small.dcm") for _ in range(3)]
    study = generate_uid()
    series = [generate_uid(), generate_uid()]
    for number, dataset in enumerate(made):
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series[min(number, 1)]
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    client.store_instances(made, study_instance_uid=study)
    assert len(client.search_for_instances(study)) == 3
    client.delete_instance(study, series[1], made[1].SOPInstanceUID)
    assert len(client.search_for_instances(study)) == 2
    client.delete_series(study, series[1])
    assert [one["0020000E"]["Value"] for one in client.search_for_series(study)] == [[series[0]]]
    client.delete_study(study)
    assert client.search_for_studies(search_filters={"StudyInstanceUID": study}) == []


def test_what_is_not_there_is_404(client: DICOMwebClient) -> None:
    with pytest.raises(HTTPError, match="404"):
        client.retrieve_study_metadata("1.2.3")
