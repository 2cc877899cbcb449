"""THE matching table: what a stored value and the value of a key have to say to each other (PS3.4 C.2.2.2).

Each row runs through C-FIND and QIDO-RS on every database. Rows with the same attribute, stored value and character set
share one stored object.
"""

from dataclasses import dataclass
from typing import Any

Item = dict[str, str]


@dataclass(frozen=True)
class Row:
    """One line of the table. `stored` None: the object lacks the attribute. `also`: further keys of the query."""

    keyword: str
    stored: Any
    query: Any
    found: bool
    character_set: str | tuple[str, ...] = "ISO_IR 192"
    fuzzy: bool = False
    combined: bool = False
    also_stored: tuple[tuple[str, str], ...] = ()
    also: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> str:
        return f"{self.keyword}-{self.stored}-{self.query}-{self.found}"


def _rows(keyword: str, stored: Any, *, yes: tuple[Any, ...] = (), no: tuple[Any, ...] = (), **more: Any) -> list[Row]:
    return [
        *(Row(keyword, stored, query, True, **more) for query in yes),
        *(Row(keyword, stored, query, False, **more) for query in no),
    ]


_JAPANESE = ("", "ISO 2022 IR 87")
_KATAKANA = ("ISO_IR 13", "ISO 2022 IR 87")
_KOREAN = ("", "ISO 2022 IR 149")

SINGLE_VALUE = [
    # PS3.4 C.2.2.2.1: case counts but in PN, spaces at the ends do not
    *_rows("PatientID", "AB-12", yes=("AB-12", "AB-12 "), no=("ab-12", "AB-1", "AB-123", "AB12")),
    *_rows("AccessionNumber", "A.1", yes=("A.1",), no=("A1", "AX1", "a.1")),
    *_rows("StudyID", "7", yes=("7",), no=("07", "77")),
    *_rows("StudyDescription", "CT Thorax", yes=("CT Thorax",), no=("CT thorax", "CT", "Thorax")),
    *_rows(
        "StudyDescription", "100%_sure!", yes=("100%_sure!", "100%*", "*_sure!", "*!"), no=("100a_sure!", "100%xsure!")
    ),
    # what means something to LIKE, its escape characters among them, means itself
    *_rows(
        "PatientID", "A_B%C", yes=("A_B%C", "A_B%*", "?_?%?"), no=("AxB%C", "A_BxC", "A_B%", "%", "_____", "A_B!%C")
    ),
    *_rows("StudyDescription", 'it\'s "q"; --', yes=('it\'s "q"; --', "it's*"), no=("its*",)),
    *_rows("Modality", "CT", yes=("CT",), no=("ct", "MR", "C")),
    *_rows("BodyPartExamined", "HEAD", yes=("HEAD",), no=("Head", "HEADNECK")),
    *_rows("InstanceNumber", "7", yes=("7", "07"), no=("77", "-7")),
    *_rows("SeriesNumber", "0", yes=("0", "00"), no=("1",)),
    *_rows("SliceThickness", "1.250", yes=("1.25", "1.250", "125e-2"), no=("1.2", "1")),
    *_rows("Rows", 512, yes=("512",), no=("51", "5120")),
    *_rows("PatientSex", "F", yes=("F",), no=("M", "f")),
    *_rows("PatientAge", "034Y", yes=("034Y",), no=("34Y", "035Y")),
    *_rows("NumberOfFrames", "30", yes=("30",), no=("3", "300")),
    *_rows("StationName", "MRC\\25", yes=("MRC",), no=("MRC25",)),
    *_rows("PatientComments", "a very\r\nlong text", yes=("a very*",), no=("a very", "b*")),
]

UNIVERSAL = [
    # PS3.4 C.2.2.2.3
    *_rows("StudyDescription", "x", yes=("", "*", "**")),
    *_rows("StudyDescription", None, yes=("", "*")),
    *_rows("StudyDate", None, yes=("",)),
    *_rows("PatientName", None, yes=("", "*")),
    *_rows("SeriesNumber", None, yes=("",)),
    *_rows("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2", yes=("",)),
]

EMPTY = [
    # PS3.4 C.2.2.2.7
    *_rows("StudyDescription", None, yes=('""',)),
    *_rows("StudyDescription", "x", no=('""',)),
    *_rows("PatientID", None, yes=('""', "NO_PID")),
    *_rows("PatientID", "NO_PID", yes=("NO_PID",), no=('""',)),
    *_rows("PatientName", None, yes=('""',)),
    *_rows("PatientName", "X", no=('""',)),
    *_rows("StudyDate", None, yes=('""',)),
    *_rows("StudyDate", "20240101", no=('""',)),
    *_rows("SeriesNumber", None, yes=('""',)),
    *_rows("BodyPartExamined", None, yes=('""',), no=("HEAD", "H*")),
]

WILD_CARD = [
    # PS3.4 C.2.2.2.4
    *_rows(
        "PatientID",
        "AB-12",
        yes=("AB*", "*12", "*B-1*", "A?-12", "AB-??", "?????"),
        no=("AB", "B*", "????", "??????", "ab*"),
    ),
    *_rows("PatientID", "A[1]", yes=("A[1]", "A[*", "*]", "A?1?"), no=("A1", "A[2]*")),
    *_rows("PatientID", "A\u00e9", yes=("A\u00e9", "A?", "*\u00e9"), no=("Ae", "A\u00c9")),
    *_rows("AccessionNumber", "2024.0001", yes=("2024*", "2024.????", "*.0001"), no=("2024.???", "2024_0001")),
    *_rows(
        "StudyDescription",
        "MR  Knee, left",
        yes=("MR*left", "*Knee*", "MR??Knee, left"),
        no=("*knee*", "MR?Knee, left"),
    ),
    *_rows("SeriesDescription", "t2_tse_sag", yes=("t2_*", "*sag", "t2?tse?sag"), no=("t1*", "T2*")),
    *_rows("StationName", "CT01", yes=("CT0?", "CT*"), no=("CT0",)),
    *_rows("Modality", "CT", yes=("C*", "?T"), no=("M*",)),
    *_rows("DocumentTitle", "Report (final)", yes=("Report*", "*(final)"), no=("report*",)),
]

RANGE = [
    # PS3.4 C.2.2.2.5
    *_rows(
        "StudyDate",
        "20240229",
        yes=("20240229", "20240229-20240229", "20240101-20241231", "20240229-", "-20240229", "20240101-", "2024.02.29"),
        no=("20240228", "20240301-", "-20240228", "20230101-20231231", "20240301-20240101"),
    ),
    *_rows("StudyDate", "1997.04.24", yes=("19970424", "19970401-19970430"), no=("19970425",)),
    *_rows("StudyDate", None, no=("20240101", "-20991231", "19000101-")),
    *_rows("StudyDate", "unknown", no=("20240101", "19000101-")),
    *_rows(
        "StudyTime",
        "101530.250",
        yes=("101530.250", "101530.25", "1015", "10", "10-11", "101530-", "-101531", "1000-1100", "10:15"),
        no=("101530.2", "1016", "11-", "-1014", "101531-101600"),
    ),
    *_rows("StudyTime", "10", yes=("10", "1000", "100000", "09-11"), no=("1001", "11-")),
    *_rows("SeriesDate", "20200101", yes=("20191231-20200102",), no=("20200102-",)),
    *_rows("PatientBirthDate", "19000101", yes=("-19000101", "1900.01.01"), no=("19000102-",)),
    *_rows(
        "AcquisitionDateTime",
        "20240101120000.5",
        yes=("20240101120000.5", "20240101", "2024", "20240101115959-20240101120001", "20240101-", "-2024"),
        no=("20240102", "202402-", "-2023", "20240101120000.6"),
    ),
    *_rows(
        "AcquisitionDateTime",
        "20240101003000+0100",
        yes=("20231231233000+0000", "20231231233000+0000-20240101", "20231231183000-0500"),
        no=("20240101003000+0000", "20240101003000-0100"),
    ),
    *_rows("PerformedProcedureStepStartDate", "20240105", yes=("20240101-20240131", "20240105"), no=("-20240104",)),
]

_AT_NOON = (("StudyTime", "120000"),)
COMBINED = [
    # PS3.4 C.2.2.2.5.1
    *(
        Row("StudyDate", "20240102", dates, found, combined=True, also_stored=_AT_NOON, also=(("StudyTime", times),))
        for dates, times, found in (
            ("20240101-20240103", "1300-1100", True),
            ("20240101-20240102", "1300-1100", False),
            ("20240102-20240103", "1300-1100", False),
            ("20240102-20240103", "1200-1100", True),
            ("20240102-", "1100-", True),
            ("20240102-", "1201-", False),
            ("20240101-", "1201-", True),
            ("-20240102", "-1159", False),
            ("-20240103", "-1159", True),
            ("20240102", "1100-1300", True),
            ("20240102", "1300-1400", False),
        )
    ),
    # each for itself, where combined matching is not asked for
    Row("StudyDate", "20240102", "20240101-20240103", True, also_stored=_AT_NOON, also=(("StudyTime", "1100-1300"),)),
    Row("StudyDate", "20240102", "20240101-20240103", False, also_stored=_AT_NOON, also=(("StudyTime", "1300-1400"),)),
]

LISTS = [
    # PS3.4 C.2.2.2.2 List of UID Matching, C.2.2.2.8 Multiple Value Matching
    *_rows(
        "SOPClassUID",
        "1.2.840.10008.5.1.4.1.1.2",
        yes=("1.2.840.10008.5.1.4.1.1.2", "1.2.3\\1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2\\1.2.3"),
        no=("1.2.840.10008.5.1.4.1.1", "1.2.3\\1.2.4", "1.2.840.10008.5.1.4.1.1.*"),
    ),
    *_rows("SOPClassesInStudy", "", yes=("1.2.840.10008.5.1.4.1.1.2", "1.2\\1.2.840.10008.5.1.4.1.1.2"), no=("1.2",)),
    *_rows("ModalitiesInStudy", "", yes=("CT", "MR\\CT", "C*", "CT\\MR"), no=("MR", "ct", "M*\\PT")),
    *_rows("PatientID", "B", yes=("A\\B\\C", "A\\B*"), no=("A\\C",)),
    *_rows("Modality", "PT", yes=("CT\\PT",), no=("CT\\MR",)),
    *_rows("InstanceNumber", "9", yes=("8\\9",), no=("8\\7",)),
]

MULTI_VALUED = [
    # any of an attribute's values may match (PS3.4 C.2.2.2.1)
    *_rows(
        "ImageType",
        ["ORIGINAL", "PRIMARY", "AXIAL"],
        yes=("PRIMARY", "ORIGINAL", "AXIAL", "AX*", "?XIAL", "*MARY"),
        no=("PRIM", "ORIGINAL*PRIMARY", "SAGITTAL", "axial", "ORIGINAL?PRIMARY"),
    ),
    *_rows("OtherPatientIDs", ["X.1", "Y+2"], yes=("X.1", "Y+2", "Y*", "X.?"), no=("X.1Y+2", "X?1?", "Z*", "Xx1")),
    *_rows("SoftwareVersions", ["syngo (1)", "VB%"], yes=("syngo*", "VB%", "*(1)"), no=("VB", "syngo", "VBx")),
    *_rows("PixelSpacing", ["0.500", "0.25"], yes=("0.5", "0.25", "0.250"), no=("0.2", "5")),
    *_rows("WindowCenter", ["40", "-600"], yes=("40", "-600"), no=("600", "4")),
    *_rows("OperatorsName", ["Doe^Jane", "Roe^Jim"], yes=("doe^jane", "ROE*", "*jim"), no=("jim", "doe^jim")),
]

PERSON_NAME = [
    # any case, accents or none, and any of the three component groups (PS3.5 6.2.1)
    *_rows(
        "PatientName",
        "Doe^Jane^Ann",
        yes=("Doe^Jane^Ann", "DOE^JANE^ANN", "doe*", "*jane*", "D?e^*", "Doe^Jane^Ann^^", "*ANN"),
        no=("Doe", "Doe^Jane", "Jane*", "Do?^Jane", "doe^ann"),
    ),
    *_rows("PatientName", "Doe", yes=("doe", "Doe^", "Doe^*", "doe*"), no=("Doe^J*", "d")),
    *_rows("PatientName", "100%^_", yes=("100%^_", "100%*"), no=("100x^_", "100%^x")),
    *_rows("ReferringPhysicianName", "O'Neil^Shaun", yes=("o'neil*", "*SHAUN"), no=("ONeil*",)),
    *_rows("PerformingPhysicianName", "Grün^Änne", yes=("grun^anne", "GRÜN*"), no=("grum*",)),
    *_rows(
        "PatientName",
        "Buc^Jérôme",
        yes=("Buc^Jérôme", "buc^jerome", "BUC^JÉRÔME", "*jero*"),
        no=("buc^jerom",),
        character_set="ISO_IR 100",
    ),
    *_rows(
        "PatientName",
        "Äneas^Rüdiger",
        yes=("aneas^rudiger", "ÄNEAS*", "Äneas^R?diger"),
        no=("aeneas*",),
        character_set="ISO_IR 100",
    ),
    *_rows(
        "PatientName",
        "Strauß^Jo",
        yes=("strauss^jo", "STRAUSS*", "Strauß*"),
        no=("strauf*",),
        character_set="ISO_IR 100",
    ),
    *_rows(
        "PatientName",
        "Dvořák^Jiří",
        yes=("dvorak^jiri", "DVOŘÁK*", "Dvořák^Jiří"),
        no=("dvorac*",),
        character_set="ISO_IR 101",
    ),
    *_rows("PatientName", "Çavuş^Gül", yes=("cavus^gul", "ÇAVUŞ*"), no=("kavus*",), character_set="ISO_IR 148"),
    *_rows(
        "PatientName",
        "Διονύσιος",
        yes=("Διονύσιος", "διονυσιος", "ΔΙΟΝΥΣΙΟΣ", "διον*"),
        no=("διο",),
        character_set="ISO_IR 126",
    ),
    *_rows(
        "PatientName",
        "Люксембург^Роза",
        yes=("Люксембург^Роза", "люксембург*", "*РОЗА"),
        no=("Люксембург",),
        character_set="ISO_IR 144",
    ),
    *_rows("PatientName", "שרון^דבורה", yes=("שרון^דבורה", "שרון*"), no=("דבורה",), character_set="ISO_IR 138"),
    *_rows("PatientName", "قباني^لنزار", yes=("قباني^لنزار", "*لنزار"), no=("قباني",), character_set="ISO_IR 127"),
    *_rows("PatientName", "นามสกุล^ชื่อ", yes=("นามสกุล^ชื่อ", "นามสกุล*"), no=("ชื่อ",), character_set="ISO_IR 166"),
    *_rows(
        "PatientName",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        yes=(
            "yamada^tarou",
            "山田^太郎",
            "やまだ^たろう",
            "山田*",
            "やま*",
            "Yamada^Tarou=山田^太郎",
            "=山田*",
            "yamada*=山田*=やまだ*",
        ),
        no=("山田", "太郎*", "やまた*", "Yamada^Tarou=山本*"),
        character_set=_JAPANESE,
    ),
    *_rows(
        "PatientName",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        yes=("ﾔﾏﾀﾞ^ﾀﾛｳ", "ヤマダ^タロウ", "ヤマダ*", "山田^太郎"),
        no=("ヤマモト*",),
        character_set=_KATAKANA,
    ),
    *_rows(
        "PatientName",
        "Hong^Gildong=洪^吉洞=홍^길동",
        yes=("hong^gildong", "洪^吉洞", "홍^길동", "홍*"),
        no=("김*", "홍"),
        character_set=_KOREAN,
    ),
    *_rows(
        "PatientName",
        "Wang^XiaoDong=王^小东",
        yes=("王^小东", "王*", "wang*"),
        no=("王", "小东"),
        character_set="GB18030",
    ),
    *_rows("PatientName", "Wang^XiaoDong=王^小东=", yes=("王^小东", "*小*"), no=("汪*",), character_set="GBK"),
    *_rows(
        "PatientName",
        "Zhang^XiaoDong=张^小东",
        yes=("张^小东", "张*"),
        no=("章*",),
        character_set=("", "ISO 2022 IR 58"),
    ),
    *_rows("StudyDescription", "Μαγνητική", yes=("Μαγνητική", "Μαγν*"), no=("μαγνητική",), character_set="ISO_IR 126"),
    *_rows("InstitutionName", "東京病院", yes=("東京病院", "東京*", "東?病院"), no=("京*",), character_set=_JAPANESE),
    *_rows("StudyDescription", "КТ грудной клетки", yes=("КТ*", "*клетки"), no=("кт*",), character_set="ISO_IR 144"),
]

FUZZY = [
    # PS3.4 C.2.2.2.1.1: words in any order, their beginnings, their sound
    *_rows(
        "PatientName",
        "Smith^John Paul",
        yes=("smith", "john", "Paul Smith", "Smyth", "jon smith", "smi", "smith^john*"),
        no=("smithson", "mary", "john mary"),
        fuzzy=True,
    ),
    *_rows(
        "PatientName", "Müller^Jürgen", yes=("muller", "Jürgen", "jurgen mull", "miller"), no=("meier",), fuzzy=True
    ),
    *_rows("PatientName", "Yamada^Tarou=山田^太郎", yes=("山田", "太郎", "tarou"), no=("山本",), fuzzy=True),
]

SEQUENCE = [
    # PS3.4 C.2.2.2.6: one item has to match all keys
    *(
        Row(
            "RequestAttributesSequence",
            [
                {"RequestedProcedureID": "RP1", "ScheduledProcedureStepID": "SPS1"},
                {"RequestedProcedureID": "RP2", "ScheduledProcedureStepID": "SPS2"},
            ],
            query,
            found,
        )
        for query, found in (
            ({"RequestedProcedureID": "RP1"}, True),
            ({"RequestedProcedureID": "RP2", "ScheduledProcedureStepID": "SPS2"}, True),
            ({"RequestedProcedureID": "RP1", "ScheduledProcedureStepID": "SPS2"}, False),
            ({"RequestedProcedureID": "RP*"}, True),
            ({"RequestedProcedureID": "rp1"}, False),
            ({"ScheduledProcedureStepID": "SPS1\\SPS9"}, True),
            ({"RequestedProcedureID": ""}, True),
        )
    ),
    Row("RequestAttributesSequence", None, {"RequestedProcedureID": "RP1"}, False),
    Row("RequestAttributesSequence", None, {"RequestedProcedureID": ""}, True),
    Row("ProcedureCodeSequence", [{"CodeValue": "P5-09051"}], {"CodeValue": "P5-*"}, True),
    Row("ProcedureCodeSequence", [{"CodeValue": "P5-09051"}], {"CodeValue": "P6-*"}, False),
    Row("ConceptNameCodeSequence", [{"CodeValue": "11528-7"}], {"CodeValue": "11528-7"}, True),
    Row("ConceptNameCodeSequence", [{"CodeValue": "11528-7"}], {"CodeValue": "11528-8"}, False),
]

COMPUTED = [
    *_rows("NumberOfStudyRelatedInstances", "", yes=("1",), no=("2",)),
    *_rows("NumberOfStudyRelatedSeries", "", yes=("1",), no=("0",)),
    *_rows("NumberOfSeriesRelatedInstances", "", yes=("1",), no=("2",)),
    *_rows("InstanceAvailability", "", yes=("ONLINE", "ON*"), no=("OFFLINE",)),
    *_rows("RetrieveAETitle", "", yes=("FILEROOM",), no=("OTHER",)),
    *_rows("IssuerOfPatientID", None, yes=("DEFAULT_DOMAIN",), no=("HOSP",)),
    *_rows("IssuerOfPatientID", "HOSP", yes=("HOSP", "HO*"), no=("DEFAULT_DOMAIN", '""')),
]

ROWS: tuple[Row, ...] = (
    *SINGLE_VALUE,
    *UNIVERSAL,
    *EMPTY,
    *WILD_CARD,
    *RANGE,
    *COMBINED,
    *LISTS,
    *MULTI_VALUED,
    *PERSON_NAME,
    *FUZZY,
    *SEQUENCE,
    *COMPUTED,
)
