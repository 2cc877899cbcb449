"""Small image sets for the tests of the fake service, and short ways to ask for them by boto3."""

import gzip
import json
from collections.abc import Callable
from typing import Any

from tests.fakes.image_sets import ImageSet
from tests.made import uid

Document = dict[str, Any]
ROLE = "arn:aws:iam::111122223333:role/Import"
FRAME_ID = f"{1:032x}"
Add = Callable[..., ImageSet]


def document(series: int = 1, instances: int = 1, **attributes: dict[str, Any]) -> Document:
    """A document of one series; `patient`, `study` and `series_attributes` add to the attributes of a level."""
    series_uid = uid(1, series)
    return {
        "SchemaVersion": "1.1",
        "DatastoreID": "",
        "ImageSetID": "",
        "Patient": {"DICOM": {"PatientID": "P1", "PatientName": "Doe^Jane", **attributes.get("patient", {})}},
        "Study": {
            "DICOM": {
                "StudyInstanceUID": uid(1),
                "StudyDate": "20240102",
                "StudyTime": "101500.5",
                "StudyID": "S1",
                "AccessionNumber": "A1",
                **attributes.get("study", {}),
            },
            "Series": {
                series_uid: {
                    "DICOM": {
                        "SeriesInstanceUID": series_uid,
                        "Modality": "CT",
                        "SeriesNumber": str(series),
                        **attributes.get("series_attributes", {}),
                    },
                    "Instances": {
                        uid(1, series, number): {
                            "DICOM": {"SOPInstanceUID": uid(1, series, number), "InstanceNumber": str(number)},
                            "DICOMVRs": {},
                            "ImageFrames": [{"ID": f"{number:032x}"}],
                        }
                        for number in range(1, instances + 1)
                    },
                }
            },
        },
    }


def named(image_set: ImageSet) -> dict[str, str]:
    return {"datastoreId": image_set.datastore_id, "imageSetId": image_set.image_set_id}


def metadata(client: Any, image_set: ImageSet, **more: str) -> Document:
    answer = client.get_image_set_metadata(**named(image_set), **more)
    assert (answer["contentType"], answer["contentEncoding"]) == ("application/json", "gzip")
    found: Document = json.loads(gzip.decompress(answer["imageSetMetadataBlob"].read()))
    return found


def state(client: Any, image_set: ImageSet) -> tuple[str, str, str]:
    told = client.get_image_set(**named(image_set))
    return told["versionId"], told["imageSetState"], told["imageSetWorkflowStatus"]


def updates(**attributes: Document) -> Document:
    return {"DICOMUpdates": {name: json.dumps(value).encode() for name, value in attributes.items()}}


def update(client: Any, image_set: ImageSet, said: Document, version: str = "1", **more: Any) -> Document:
    answer: Document = client.update_image_set_metadata(
        **named(image_set), latestVersionId=version, updateImageSetMetadataUpdates=said, **more
    )
    return answer


DESCRIPTION = updates(updatableAttributes={"Study": {"DICOM": {"StudyDescription": "Thorax"}}})


def store_of(client: Any) -> str:
    [one] = client.list_datastores()["datastoreSummaries"]
    found: str = one["datastoreId"]
    return found


def copy(client: Any, source: ImageSet, into: ImageSet | None = None, **more: Any) -> Document:
    said: Document = {"sourceImageSet": {"latestVersionId": str(source.latest.number), **more.pop("of_it", {})}}
    if into is not None:
        said["destinationImageSet"] = {
            "imageSetId": into.image_set_id,
            "latestVersionId": str(into.latest.number),
        }
    answer: Document = client.copy_image_set(
        datastoreId=source.datastore_id, sourceImageSetId=source.image_set_id, copyImageSetInformation=said, **more
    )
    return answer
