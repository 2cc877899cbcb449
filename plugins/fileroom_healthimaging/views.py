"""Read-only SQL views for those who have queries for the index that AWS's sample makes of HealthImaging.

They have its names of tables and DICOM's keywords as columns. Its Patient, Study and Series are those of the core's
views (storage/fileroom_storage/index/views.py); `full_study_view` and `full_series_view` bring all levels together, of
what image sets have. The core has a table that is called conflict: those of image sets are ImageSetConflict.
"""

from collections.abc import Mapping

from fileroom_storage.plugin import ViewSelect

_LIVE = "m.state <> 'DELETED'"
_SERIES_OF_IMAGE_SETS = (
    "healthimaging_series h JOIN healthimaging_image_set m ON m.pk = h.image_set_pk"
    " JOIN dicom_series e ON e.series_instance_uid = h.series_instance_uid"
)
_HIERARCHY = "dicom_study s JOIN dicom_patient p ON p.pk = s.patient_pk JOIN dicom_issuer u ON u.pk = p.issuer_pk"

_PATIENT = {
    "IssuerOfPatientID": "u.issuer_of_patient_id",
    "PatientID": "p.patient_id",
    "PatientName": "p.patient_name",
    "PatientBirthDate": "p.patient_birth_date",
    "PatientSex": "p.patient_sex",
}
_STUDY = {
    "StudyInstanceUID": "s.study_instance_uid",
    "StudyDate": "s.study_date",
    "StudyTime": "s.study_time",
    "StudyDescription": "s.study_description",
    "StudyID": "s.study_id",
    "AccessionNumber": "s.accession_number",
    "ReferringPhysicianName": "s.referring_physician_name",
    "ModalitiesInStudy": "s.modalities_in_study",
    "NumberOfStudyRelatedSeries": "s.number_of_study_related_series",
    "NumberOfStudyRelatedInstances": "s.number_of_study_related_instances",
}
_SERIES = {
    "SeriesInstanceUID": "e.series_instance_uid",
    "SeriesNumber": "e.series_number",
    "SeriesDescription": "e.series_description",
    "SeriesDate": "e.series_date",
    "SeriesTime": "e.series_time",
    "Modality": "e.modality",
    "BodyPartExamined": "e.body_part_examined",
    "NumberOfSeriesRelatedInstances": "e.number_of_series_related_instances",
}
_IMAGE_SET = {
    "DatastoreID": "m.datastore_id",
    "ImageSetID": "m.image_set_id",
    "VersionID": "m.version_id",
    "ImageSetState": "m.state",
    "ImageSetWorkflowStatus": "m.workflow_status",
    "IsPrimary": "m.is_primary",
    "StorageTier": "m.storage_tier",
}


def _view(columns: Mapping[str, str], source: str) -> ViewSelect:
    selected = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    return lambda _dialect: f"SELECT {selected} FROM {source}"  # noqa: S608  # names of this file


_HAS_IMAGE_SETS = (
    "s.pk IN (SELECT e.study_pk FROM healthimaging_series h"
    " JOIN dicom_series e ON e.series_instance_uid = h.series_instance_uid)"
)

VIEWS: Mapping[str, ViewSelect] = {
    "Issuer": _view({"id": "u.pk", "IssuerOfPatientID": "u.issuer_of_patient_id"}, "dicom_issuer u"),
    "Instance": _view(
        {
            "id": "i.pk",
            "SeriesID": "i.series_pk",
            "SOPInstanceUID": "i.sop_instance_uid",
            "SOPClassUID": "i.sop_class_uid",
            "InstanceNumber": "i.instance_number",
        },
        "dicom_instance i",
    ),
    "Frame": _view(
        {
            "id": "f.pk",
            "InstanceID": "f.instance_pk",
            "ImageSetPK": "f.image_set_pk",
            "FrameNumber": "f.frame_number",
            "FrameID": "f.image_frame_id",
            "MinPixelValue": "f.minimum_pixel_value",
            "MaxPixelValue": "f.maximum_pixel_value",
            "FrameSizeInBytes": "f.frame_size",
        },
        "healthimaging_frame f",
    ),
    "ImageSet": _view({"id": "m.pk", "SeriesID": "e.pk", **_IMAGE_SET}, f"{_SERIES_OF_IMAGE_SETS} WHERE {_LIVE}"),
    "ImageSetConflict": _view(
        {
            "id": "c.pk",
            "SeriesInstanceUID": "c.series_instance_uid",
            "FirstImageSetPK": "c.first_image_set_pk",
            "SecondImageSetPK": "c.second_image_set_pk",
            "Type": "c.type",
        },
        "healthimaging_conflict c WHERE c.state = 'open'",
    ),
    "Tag": _view(
        {
            "id": "t.pk",
            "SeriesID": "e.pk",
            "SeriesInstanceUID": "t.series_instance_uid",
            "TagKey": "t.keyword",
            "TagValue": "t.value",
            "State": "t.state",
            "ImageSetID": "t.image_set_id",
        },
        "healthimaging_tag t LEFT JOIN dicom_series e ON e.series_instance_uid = t.series_instance_uid",
    ),
    "ImportJob": _view(
        {
            "id": "j.pk",
            "DatastoreID": "j.datastore_id",
            "JobID": "j.job_id",
            "InputS3Uri": "j.input_s3_uri",
            "OutputS3Uri": "j.output_s3_uri",
            "ManifestS3Uri": "j.manifest_s3_uri",
            "State": "j.state",
        },
        "healthimaging_import_job j",
    ),
    "full_study_view": _view({**_PATIENT, **_STUDY}, f"{_HIERARCHY} WHERE {_HAS_IMAGE_SETS}"),
    "full_series_view": _view(
        {**_PATIENT, **_STUDY, **_SERIES, **_IMAGE_SET},
        f"{_SERIES_OF_IMAGE_SETS} JOIN dicom_study s ON s.pk = e.study_pk JOIN dicom_patient p ON p.pk = s.patient_pk"
        f" JOIN dicom_issuer u ON u.pk = p.issuer_pk WHERE {_LIVE}",
    ),
}
