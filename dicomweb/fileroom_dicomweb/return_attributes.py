"""What a search answers with unless asked for more, per level (PS3.18 Tables 10.6.3-3, -4, -5)."""

from fileroom_storage.attributes import Level

from .origin_server import Resource

# The unique keys are there at every level at and above the answer's: RetrieveURL is made of them.
_UNIQUE_KEYS = {
    Level.STUDY: ("StudyInstanceUID",),
    Level.SERIES: ("StudyInstanceUID", "SeriesInstanceUID"),
    Level.IMAGE: ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
}

# Type R of the tables: answered, if need be without a value.
_REQUIRED = {
    Level.STUDY: (
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ModalitiesInStudy",
        "ReferringPhysicianName",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyID",
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
    ),
    Level.SERIES: ("Modality", "SeriesNumber", "NumberOfSeriesRelatedInstances"),
    Level.IMAGE: ("SOPClassUID", "InstanceNumber"),
}

# Type C of the tables, and what viewers show in their lists without asking for it: answered where there is a value.
_CONDITIONAL = {
    Level.STUDY: ("InstanceAvailability", "TimezoneOffsetFromUTC", "StudyDescription"),
    Level.SERIES: (
        "SeriesDescription",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
        "RequestAttributesSequence",
        "TimezoneOffsetFromUTC",
        "SeriesDate",
        "SeriesTime",
    ),
    Level.IMAGE: (
        "InstanceAvailability",
        "TimezoneOffsetFromUTC",
        "Rows",
        "Columns",
        "BitsAllocated",
        "NumberOfFrames",
    ),
}

# A viewer that gets one of these without a value shows no list at all.
_NEVER_EMPTY = frozenset({"Modality", "ModalitiesInStudy"})


def answered_levels(level: Level, within: Resource) -> tuple[Level, ...]:
    """The answer's level, and those above it that the URL does not name (PS3.18 10.6.3.3)."""
    levels = [level]
    if level is Level.IMAGE and within.series_instance_uid is None:
        levels.append(Level.SERIES)
    if level is not Level.STUDY and within.study_instance_uid is None:
        levels.append(Level.STUDY)
    return tuple(levels)


def default_keywords(level: Level, within: Resource) -> frozenset[str]:
    keywords = set(_UNIQUE_KEYS[level])
    for answered in answered_levels(level, within):
        keywords.update(_REQUIRED[answered], _CONDITIONAL[answered])
    return frozenset(keywords)


def required_keywords(level: Level, within: Resource) -> tuple[str, ...]:
    """What an answer shows even where it has no value."""
    return tuple(
        keyword
        for answered in answered_levels(level, within)
        for keyword in _REQUIRED[answered]
        if keyword not in _NEVER_EMPTY
    )
