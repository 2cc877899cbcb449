"""What the service is asked, and what its faults become."""

import json
import sys

import pytest

from fileroom_healthimaging.aws import AwsClients, Boto3Missing
from fileroom_healthimaging.aws_errors import AwsNotAllowed, AwsNotFound, AwsRefused, AwsUnavailable
from fileroom_healthimaging.document import read_document
from fileroom_healthimaging.image_set_service import ImageSetService
from fileroom_healthimaging.image_set_version import ImageSetName
from fileroom_healthimaging.section import HealthImagingSection
from tests.fakes.faults import Kind
from tests.fakes.medical_imaging import MedicalImaging
from tests.fakes.small_image_sets import DESCRIPTION, FRAME_ID, update
from tests.plugins.healthimaging.conftest import AddSeries


def test_latest(service: ImageSetService, aws: MedicalImaging, add: AddSeries) -> None:
    image_set = add()
    update(aws.client(), image_set, DESCRIPTION)
    name = ImageSetName(image_set.datastore_id, image_set.image_set_id)
    version = service.latest(name)
    assert version is not None
    assert version.name == name
    assert (version.version_id, version.state, version.workflow_status) == (2, "ACTIVE", "UPDATED")
    assert (version.is_primary, version.storage_tier) == (True, "FREQUENT_ACCESS")
    assert (version.created_at, version.updated_at) == (image_set.latest.created_at, image_set.latest.updated_at)
    assert version.document is not None
    assert read_document(version.document).study_attributes["StudyDescription"] == "Thorax"


def test_versions(service: ImageSetService, aws: MedicalImaging, add: AddSeries) -> None:
    image_set = add()
    update(aws.client(), image_set, DESCRIPTION)
    found = service.versions(ImageSetName(image_set.datastore_id, image_set.image_set_id))
    assert [(one.version_id, one.workflow_status, one.document) for one in found] == [
        (1, "CREATED", None),
        (2, "UPDATED", None),
    ]


def test_deleted(service: ImageSetService, aws: MedicalImaging, add: AddSeries) -> None:
    image_set = add()
    name = ImageSetName(image_set.datastore_id, image_set.image_set_id)
    aws.client().delete_image_set(datastoreId=name.datastore_id, imageSetId=name.image_set_id)
    version = service.latest(name)
    assert version is not None
    assert (version.state, version.document, version.deleted_at) == ("DELETED", None, image_set.latest.deleted_at)


def test_deleted_in_between(service: ImageSetService, aws: MedicalImaging, add: AddSeries) -> None:
    """Between the question for its version and that for its document."""
    image_set = add()
    name = ImageSetName(image_set.datastore_id, image_set.image_set_id)
    client = aws.client()
    ask = service._clients.medical_imaging.get_image_set
    asked: list[object] = []

    def and_delete(**parameters: str) -> object:
        answer = ask(**parameters)
        if not asked:
            client.delete_image_set(datastoreId=name.datastore_id, imageSetId=name.image_set_id)
        asked.append(parameters)
        return answer

    service._clients.medical_imaging.get_image_set = and_delete
    version = service.latest(name)
    assert version is not None
    assert version.state == "DELETED"
    assert len(asked) == 2


def test_unknown_image_set(service: ImageSetService, datastore: str) -> None:
    assert service.latest(ImageSetName(datastore, "0" * 32)) is None


def test_unknown_datastore(service: ImageSetService, datastore: str) -> None:
    """Another region's data store says nothing of its image sets."""
    with pytest.raises(AwsNotFound, match="data store"):
        service.latest(ImageSetName("0" * 32, "0" * 32))


def test_all_image_sets(service: ImageSetService, datastore: str, add: AddSeries) -> None:
    made = {add(series).image_set_id for series in range(1, 54)}
    found = list(service.image_sets(datastore))
    assert {one.name.image_set_id for one in found} == made
    assert {one.version_id for one in found} == {1}


@pytest.mark.parametrize("kind", [Kind.THROTTLING, Kind.INTERNAL, Kind.CUT_BEFORE, Kind.CUT_AFTER])
def test_a_fault_passes(service: ImageSetService, aws: MedicalImaging, add: AddSeries, kind: Kind) -> None:
    image_set = add()
    aws.faults.add(kind, "GetImageSet")
    assert service.latest(ImageSetName(image_set.datastore_id, image_set.image_set_id)) is not None


@pytest.mark.parametrize("kind", [Kind.THROTTLING, Kind.INTERNAL, Kind.CUT_BEFORE])
def test_a_fault_stays(service: ImageSetService, aws: MedicalImaging, add: AddSeries, kind: Kind) -> None:
    image_set = add()
    aws.faults.add(kind, "GetImageSet", times=9)
    with pytest.raises(AwsUnavailable, match="tried again later"):
        service.latest(ImageSetName(image_set.datastore_id, image_set.image_set_id))
    assert aws.requests.count("GetImageSet") == 2


def test_nobody_listens(aws: MedicalImaging, add: AddSeries, section: HealthImagingSection, free_port: int) -> None:
    image_set = add()
    endpoint = f"http://127.0.0.1:{free_port}"
    away = ImageSetService(AwsClients(section.model_copy(update={"endpoint_url": endpoint, "attempts": 1})))
    with pytest.raises(AwsUnavailable, match="tried again later"):
        away.latest(ImageSetName(image_set.datastore_id, image_set.image_set_id))


def test_no_answer(
    service: ImageSetService, aws: MedicalImaging, add: AddSeries, section: HealthImagingSection
) -> None:
    image_set = add()
    aws.faults.add(Kind.HANG, "GetImageSet")
    quick = ImageSetService(AwsClients(section.model_copy(update={"read_timeout": 0.2, "attempts": 1})))
    with pytest.raises(AwsUnavailable):
        quick.latest(ImageSetName(image_set.datastore_id, image_set.image_set_id))


def test_a_body_that_breaks_off_is_had_again(service: ImageSetService, aws: MedicalImaging, add: AddSeries) -> None:
    image_set = add()
    name = ImageSetName(image_set.datastore_id, image_set.image_set_id)
    aws.faults.add(Kind.CUT_IN_BODY, "GetImageSetMetadata")
    version = service.latest(name)
    assert version is not None
    assert version.document is not None
    assert read_document(version.document).image_set_id == name.image_set_id
    aws.faults.add(Kind.CUT_IN_BODY, "GetImageFrame")
    assert service.frame(name, FRAME_ID, 100) == b"frame"


def test_a_body_that_breaks_off_each_time(service: ImageSetService, aws: MedicalImaging, add: AddSeries) -> None:
    image_set = add()
    aws.faults.add(Kind.CUT_IN_BODY, "GetImageFrame", times=9)
    with pytest.raises(AwsUnavailable):
        service.frame(ImageSetName(image_set.datastore_id, image_set.image_set_id), FRAME_ID, 100)
    assert aws.requests.count("GetImageFrame") == 3


def test_no_credentials(
    aws: MedicalImaging, datastore: str, section: HealthImagingSection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    with pytest.raises(AwsNotAllowed, match="AWS_PROFILE"):
        list(ImageSetService(AwsClients(section)).image_sets(datastore))


def test_no_region(
    aws: MedicalImaging, datastore: str, section: HealthImagingSection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(AwsRefused, match=r"set region in \[plugins.healthimaging\]"):
        list(ImageSetService(AwsClients(section)).image_sets(datastore))


def test_endpoint_of_the_configuration(
    aws: MedicalImaging, datastore: str, add: AddSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without what the fake's environment says of host prefixes."""
    image_set = add()
    for name in ("AWS_ENDPOINT_URL_MEDICAL_IMAGING", "AWS_DISABLE_HOST_PREFIX_INJECTION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    section = HealthImagingSection(datastores=(datastore,), region="us-east-1", endpoint_url=aws.url)
    version = ImageSetService(AwsClients(section)).latest(ImageSetName(datastore, image_set.image_set_id))
    assert version is not None
    assert version.document is not None


def test_boto3_is_missing(section: HealthImagingSection, monkeypatch: pytest.MonkeyPatch, datastore: str) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(Boto3Missing):
        AwsClients(section).check()
    with pytest.raises(Boto3Missing, match=r"pip install 'fileroom\[healthimaging\]'"):
        list(ImageSetService(AwsClients(section)).image_sets(datastore))


def test_refusals_quote_nothing(service: ImageSetService, aws: MedicalImaging, add: AddSeries) -> None:
    image_set = add()
    name = ImageSetName(image_set.datastore_id, image_set.image_set_id)
    with pytest.raises(AwsNotFound) as raised:
        service.frame(name, "f" * 32, 100)
    assert str(raised.value) == f"frame {'f' * 32} of image set {name} is not there (ResourceNotFoundException)"
    assert "Doe" not in json.dumps(str(raised.value))
