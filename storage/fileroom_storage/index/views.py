"""Read-only SQL views under the names of reference schemas, for those who have queries for them.

`dicom_db` knows four tables: Patient, Study, Series, SliceMetadata. It puts some attributes where DICOM does not; the
views take each from where it belongs. Dates and times are text in DICOM's form, as there. PostgreSQL folds the names
to lower case, so that the same unquoted SQL runs everywhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, inspect, text


@dataclass(frozen=True)
class _Sql:
    """How one database writes what the views need."""

    date: Callable[[str], str]
    time: Callable[[str], str]
    quote: Callable[[str], str]


def _trimmed(sql: str) -> str:
    """No trailing zeros in a fraction, and no dot where none is left."""
    return f"rtrim(rtrim({sql}, '0'), '.')"


_DIALECTS: Mapping[str, _Sql] = {
    "sqlite": _Sql(
        date=lambda column: f"replace({column}, '-', '')",
        time=lambda column: _trimmed(f"replace({column}, ':', '')"),
        quote=lambda name: f'"{name}"',
    ),
    "postgresql": _Sql(
        date=lambda column: f"to_char({column}, 'YYYYMMDD')",
        time=lambda column: _trimmed(f"to_char({column}, 'HH24MISS.US')"),
        quote=lambda name: name.lower(),
    ),
    "mysql": _Sql(
        date=lambda column: f"date_format({column}, '%Y%m%d')",
        time=lambda column: f"trim(trailing '.' from trim(trailing '0' from time_format({column}, '%H%i%s.%f')))",
        quote=lambda name: f"`{name}`",
    ),
}


def _patient(sql: _Sql) -> tuple[dict[str, str], str]:
    def newest(column: str) -> str:
        """Of the newest study that tells: these belong to the Patient Study Module (PS3.3 C.7.2.2)."""
        return (
            f"(SELECT s.{column} FROM dicom_study s WHERE s.patient_pk = p.pk AND s.{column} IS NOT NULL"  # noqa: S608  # names of this file
            " ORDER BY s.study_date DESC, s.study_time DESC, s.pk DESC LIMIT 1)"
        )

    return {
        "PatientID": "p.patient_id",
        "PatientName": "p.patient_name",
        "PatientSex": "p.patient_sex",
        "PatientAge": newest("patient_age"),
        "PatientBirthDate": sql.date("p.patient_birth_date"),
        "PatientIdentityRemoved": "p.patient_identity_removed",
        "DeIdentificationMethod": "p.deidentification_method",
        "LastMenstrualDate": sql.date(newest("last_menstrual_date")),
    }, "dicom_patient p"


def _study(sql: _Sql) -> tuple[dict[str, str], str]:
    first_series = "(SELECT min(e.series_date) FROM dicom_series e WHERE e.study_pk = s.pk)"
    return {
        "StudyInstanceUID": "s.study_instance_uid",
        "PatientID": "p.patient_id",
        "StudyDescription": "s.study_description",
        "StudyDate": sql.date("s.study_date"),
        "StudyTime": sql.time("s.study_time"),
        "StudyID": "s.study_id",
        "SeriesDate": sql.date(first_series),
        "ReferringPhysicianName": "s.referring_physician_name",
    }, "dicom_study s JOIN dicom_patient p ON p.pk = s.patient_pk"


def _series(sql: _Sql) -> tuple[dict[str, str], str]:
    # what may differ from slice to slice is that of the series' first instance
    first_instance = (
        "(SELECT f.pk FROM dicom_instance f WHERE f.series_pk = e.pk"
        " ORDER BY f.instance_number IS NULL, f.instance_number, f.pk LIMIT 1)"
    )
    of_instance = {
        "SliceThickness": "slice_thickness",
        "PixelSpacing": "pixel_spacing",
        "ImagePositionPatient": "image_position_patient",
        "ImageOrientationPatient": "image_orientation_patient",
        "Rows": sql.quote("rows"),
        "Columns": sql.quote("columns"),
        "ImageType": "image_type",
        "AcquisitionNumber": "acquisition_number",
        "InstanceNumber": "instance_number",
        "ExposureTime": "exposure_time",
        "KVP": "kvp",
        "TableHeight": "table_height",
        "SliceLocation": "slice_location",
        "ScanOptions": "scan_options",
        "ReconstructionDiameter": "reconstruction_diameter",
        "DistanceSourceToPatient": "distance_source_to_patient",
        "GantryDetectorTilt": "gantry_detector_tilt",
        "RotationDirection": "rotation_direction",
        "ConvolutionKernel": "convolution_kernel",
    }
    return {
        "SeriesInstanceUID": "e.series_instance_uid",
        "StudyInstanceUID": "s.study_instance_uid",
        "SeriesDescription": "e.series_description",
        "Modality": "e.modality",
        "PatientPosition": "e.patient_position",
        "BodyPartExamined": "e.body_part_examined",
        **{name: f"i.{column}" for name, column in of_instance.items()},
    }, (f"dicom_series e JOIN dicom_study s ON s.pk = e.study_pk LEFT JOIN dicom_instance i ON i.pk = {first_instance}")


def _slice_metadata(sql: _Sql) -> tuple[dict[str, str], str]:
    return {
        "SliceID": "i.pk",
        "SeriesInstanceUID": "e.series_instance_uid",
        "AcquisitionDate": sql.date("i.acquisition_date"),
        "AcquisitionTime": sql.time("i.acquisition_time"),
        "ContrastBolusAgent": "i.contrast_bolus_agent",
        "AccessionNumber": "s.accession_number",
        "SliceNumber": "i.instance_number",
        "SliceLocation": "i.slice_location",
        "SliceThickness": "i.slice_thickness",
        "PixelPaddingValue": "i.pixel_padding_value",
        "RescaleIntercept": "i.rescale_intercept",
        "RescaleSlope": "i.rescale_slope",
        "LongitudinalTemporalInfo": "i.longitudinal_temporal_information_modified",
    }, "dicom_instance i JOIN dicom_series e ON e.pk = i.series_pk JOIN dicom_study s ON s.pk = e.study_pk"


_VIEWS = {"Patient": _patient, "Study": _study, "Series": _series, "SliceMetadata": _slice_metadata}
VIEW_NAMES = tuple(_VIEWS)


def create_views(connection: Connection) -> None:
    sql = _sql(connection)
    for name, view in _VIEWS.items():
        columns, source = view(sql)
        selected = ", ".join(f"{expression} AS {sql.quote(column)}" for column, expression in columns.items())
        statement = f"CREATE VIEW {sql.quote(name)} AS SELECT {_bound(selected)} FROM {source}"  # noqa: S608  # as above
        connection.execute(text(statement))


def has_views(engine: Engine) -> bool:
    there = {name.lower() for name in inspect(engine).get_view_names()}
    return all(name.lower() in there for name in VIEW_NAMES)


def drop_views(connection: Connection) -> None:
    sql = _sql(connection)
    for name in _VIEWS:
        connection.execute(text(f"DROP VIEW IF EXISTS {sql.quote(name)}"))


def _sql(connection: Connection) -> _Sql:
    name = connection.dialect.name
    return _DIALECTS["mysql" if name == "mariadb" else name]


def _bound(sql: str) -> str:
    # text() would read ':' as a parameter
    return sql.replace(":", "\\:")
