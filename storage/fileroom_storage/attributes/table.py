"""THE table of attributes: each is declared here once, and nowhere else.

The rows drive the tables of the index, C-FIND keys, QIDO-RS `includefield` and the conformance statement.
"""

from collections.abc import Iterator

from .attribute import Attribute, KeyType, Level, Origin

_U, _R, _O = KeyType.UNIQUE, KeyType.REQUIRED, KeyType.OPTIONAL
_CODE = ("CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning")


def _rows(level: Level, *keywords: str) -> Iterator[Attribute]:
    """Optional keys without an index of their own."""
    return (Attribute(keyword, level) for keyword in keywords)


def _patient() -> Iterator[Attribute]:
    level = Level.PATIENT
    # PS3.4 Table C.6-1
    yield Attribute("PatientID", level, _U, indexed=True)
    yield Attribute("PatientName", level, _R)
    yield Attribute("IssuerOfPatientID", level)
    yield Attribute("PatientBirthDate", level, indexed=True)
    yield from _rows(
        level,
        "PatientBirthTime",
        "PatientSex",
        "OtherPatientIDs",
        "OtherPatientNames",
        "EthnicGroup",
        "PatientComments",
        "PatientSpeciesDescription",
        "PatientBreedDescription",
        "ResponsiblePerson",
        "ResponsibleOrganization",
        "QualityControlSubject",
        # PS3.3 C.7.1.1: what was done to the identity
        "PatientIdentityRemoved",
        "DeidentificationMethod",
    )
    for keyword in (
        "NumberOfPatientRelatedStudies",
        "NumberOfPatientRelatedSeries",
        "NumberOfPatientRelatedInstances",
    ):
        yield Attribute(keyword, level, origin=Origin.COUNTED)


def _study() -> Iterator[Attribute]:
    level = Level.STUDY
    # PS3.4 Tables C.6-2 and C.6-5
    yield Attribute("StudyInstanceUID", level, _U, indexed=True)
    yield Attribute("StudyDate", level, _R, indexed=True)
    yield Attribute("StudyTime", level, _R)
    yield Attribute("AccessionNumber", level, _R, indexed=True)
    yield Attribute("StudyID", level, _R, indexed=True)
    yield Attribute("ReferringPhysicianName", level)
    yield Attribute("StudyDescription", level, indexed=True)
    yield Attribute("ProcedureCodeSequence", level, items=_CODE)
    yield from _rows(
        level,
        "TimezoneOffsetFromUTC",
        "NameOfPhysiciansReadingStudy",
        "PhysiciansOfRecord",
        "RequestingPhysician",
        "RequestingService",
        "AdmittingDiagnosesDescription",
        "AdmissionID",
        "OtherStudyNumbers",
        # PS3.3 C.7.2.2 Patient Study Module: what is true of the patient at the time of the study
        "PatientAge",
        "PatientSize",
        "PatientWeight",
        "Occupation",
        "AdditionalPatientHistory",
        "LastMenstrualDate",
        "PregnancyStatus",
    )
    for keyword in (
        "ModalitiesInStudy",
        "SOPClassesInStudy",
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
    ):
        yield Attribute(keyword, level, origin=Origin.COUNTED)
    # PS3.4 C.4.1.1.3.2: may be asked for at every level; answered once
    for keyword in ("InstanceAvailability", "RetrieveAETitle"):
        yield Attribute(keyword, level, origin=Origin.SERVER)


def _series() -> Iterator[Attribute]:
    level = Level.SERIES
    # PS3.4 Table C.6-3
    yield Attribute("SeriesInstanceUID", level, _U, indexed=True)
    yield Attribute("Modality", level, _R, indexed=True)
    yield Attribute("SeriesNumber", level, _R)
    yield Attribute(
        "RequestAttributesSequence",
        level,
        items=(
            "RequestedProcedureID",
            "ScheduledProcedureStepID",
            "RequestedProcedureDescription",
            "ScheduledProcedureStepDescription",
        ),
    )
    yield from _rows(
        level,
        "SeriesDescription",
        "SeriesDate",
        "SeriesTime",
        "BodyPartExamined",
        "Laterality",
        "PatientPosition",
        "ProtocolName",
        "OperatorsName",
        "PerformingPhysicianName",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
        "PerformedProcedureStepEndDate",
        "PerformedProcedureStepEndTime",
        "PerformedProcedureStepID",
        "PerformedProcedureStepDescription",
        "FrameOfReferenceUID",
        # PS3.3 C.7.5.1 General Equipment Module
        "Manufacturer",
        "ManufacturerModelName",
        "InstitutionName",
        "InstitutionalDepartmentName",
        "StationName",
        "DeviceSerialNumber",
        "SoftwareVersions",
    )
    yield Attribute("NumberOfSeriesRelatedInstances", level, origin=Origin.COUNTED)


def _instance() -> Iterator[Attribute]:
    level = Level.IMAGE
    # PS3.4 Table C.6-4
    yield Attribute("SOPInstanceUID", level, _U, indexed=True)
    yield Attribute("InstanceNumber", level, _R)
    yield Attribute("SOPClassUID", level, indexed=True)
    yield Attribute("AvailableTransferSyntaxUID", level, origin=Origin.COUNTED)
    yield Attribute("ConceptNameCodeSequence", level, items=_CODE)
    yield from _rows(
        level,
        "ImageType",
        "InstanceCreationDate",
        "InstanceCreationTime",
        "AcquisitionDate",
        "AcquisitionTime",
        "AcquisitionDateTime",
        "AcquisitionNumber",
        "ContentDate",
        "ContentTime",
        "ContentLabel",
        "ContentDescription",
        "PresentationCreationDate",
        "PresentationCreationTime",
        "CompletionFlag",
        "VerificationFlag",
        "DocumentTitle",
        "MIMETypeOfEncapsulatedDocument",
        "ImageComments",
        "BurnedInAnnotation",
        "LossyImageCompression",
        "TemporalPositionIdentifier",
        "LongitudinalTemporalInformationModified",
        # PS3.3 C.7.6.3 Image Pixel Module
        "NumberOfFrames",
        "Rows",
        "Columns",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "PixelPaddingValue",
        # PS3.3 C.7.6.2 Image Plane Module: may differ from slice to slice
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "ImagerPixelSpacing",
        "SliceThickness",
        "SpacingBetweenSlices",
        "SliceLocation",
        # PS3.3 C.8.2.1 CT Image Module and its neighbours
        "RescaleIntercept",
        "RescaleSlope",
        "RescaleType",
        "WindowCenter",
        "WindowWidth",
        "KVP",
        "ExposureTime",
        "XRayTubeCurrent",
        "Exposure",
        "TableHeight",
        "ReconstructionDiameter",
        "DistanceSourceToPatient",
        "DistanceSourceToDetector",
        "GantryDetectorTilt",
        "RotationDirection",
        "ConvolutionKernel",
        "ScanOptions",
        "ContrastBolusAgent",
        # PS3.3 C.8.3.1 MR Image Module
        "EchoTime",
        "RepetitionTime",
        "FlipAngle",
        "MagneticFieldStrength",
    )


ATTRIBUTES: tuple[Attribute, ...] = (*_patient(), *_study(), *_series(), *_instance())
