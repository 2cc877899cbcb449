"""Answers of searches (QIDO-RS, PS3.18 10.6): attributes that lists show, filters, pages."""

from collections.abc import Iterator, Mapping

from ..exchange import Check, Exchange
from ..findings import Fault, Severity
from ..reading import value
from ..subjects import INSTANCE, MODALITIES_IN_STUDY, MODALITY, RETRIEVE_URL, SERIES, STUDY

_UIDS = {STUDY: "Study Instance UID", SERIES: "Series Instance UID", INSTANCE: "SOP Instance UID"}

# What OHIF reads of each study, and the column that is empty without (PS3.18 Table 10.6.3-3).
STUDY_COLUMNS = {
    "00080020": "the date",
    "00080030": "the time",
    "00080050": "the accession number",
    MODALITIES_IN_STUDY: "the modality",
    "00080090": "the referring physician",
    "00081030": "the description",
    "00100010": "the patient's name",
    "00100020": "the MRN",
    "00100030": "the birth date",
    "00201208": "the number of instances",
}
# What viewers read of each series (PS3.18 Table 10.6.3-4).
SERIES_COLUMNS = {
    MODALITY: "the modality",
    "00200011": "the series number",
    "0008103E": "the description",
    "00201209": "the number of instances",
}
# Of each instance, by Weasis.
INSTANCE_COLUMNS = {"00200013": "the instance number"}

# What is in no object.
_COUNTED = frozenset({MODALITIES_IN_STUDY, "00201206", "00201208", "00201209"})


def identified_by(*tags: str) -> Check:
    """Every item has these UIDs; nothing works without."""

    def check(exchange: Exchange) -> Iterator[Fault]:
        for tag in tags:
            if any(not isinstance(value(item, tag), str) for item in exchange.data_sets):
                yield Fault(
                    "uid-missing",
                    f"an item has no {_UIDS[tag]} ({tag})",
                    f"Answer {tag} in every item (PS3.18 10.6.3.3).",
                )

    return check


def columns(tags: Mapping[str, str]) -> Check:
    """No column is missing in every item, though the objects have the attribute, or the server counts it."""

    def check(exchange: Exchange) -> Iterator[Fault]:
        absent = [tag for tag in tags if exchange.data_sets and all(tag not in item for item in exchange.data_sets)]
        missing = [tag for tag in absent if tag in _COUNTED or tag in exchange.subject.metadata]
        if missing:
            names = ", ".join(f"{tags[tag]} ({tag})" for tag in missing)
            yield Fault(
                "attribute-missing",
                f"no item has {names}",
                "Answer these attributes by default, without a Value where there is none, and what includefield names.",
                Severity.LIMITED,
                "Columns of the list stay empty.",
            )

    return check


def modality_has_value(exchange: Exchange) -> Iterator[Fault]:
    """OHIF reads the length of the values of both without asking whether there are any."""
    for tag, name in ((MODALITIES_IN_STUDY, "ModalitiesInStudy"), (MODALITY, "Modality")):
        without = [item for item in exchange.data_sets if tag in item and not item[tag].get("Value")]
        if without:
            yield Fault(
                "modality-without-value",
                f"{name} ({tag}) stands in an item without a Value ({len(without)} of {len(exchange.data_sets)})",
                f"Leave {tag} out where it has no value.",
                effect="OHIF's list stays empty for all studies: it stops with an error at the first such item.",
            )


def person_names_are_objects(exchange: Exchange) -> Iterator[Fault]:
    """PS3.18 F.2.2: an object with Alphabetic and other groups."""
    for item in exchange.data_sets:
        for tag, element in item.items():
            values = element.get("Value")
            if element.get("vr") != "PN" or not isinstance(values, list):
                continue
            if any(name is not None and not isinstance(name, Mapping) for name in values):
                yield Fault(
                    "person-name",
                    f"a person name ({tag}) is no object",
                    'Write {"Alphabetic": …} (PS3.18 F.2.2).',
                    Severity.LIMITED,
                    "Names are not shown.",
                )
                return


def has_value_representations(exchange: Exchange) -> Iterator[Fault]:
    for item in exchange.data_sets:
        tag = next((tag for tag, element in item.items() if not isinstance(element.get("vr"), str)), None)
        if tag is not None:
            yield Fault(
                "vr-missing",
                f"the attribute {tag} has no vr",
                "Write the vr of every attribute (PS3.18 F.2.2).",
                effect="dcmjs, pydicom and dcm4che cannot read the item.",
            )
            return


def values_are_arrays(exchange: Exchange) -> Iterator[Fault]:
    for item in exchange.data_sets:
        tag = next((tag for tag, e in item.items() if "Value" in e and not isinstance(e["Value"], list)), None)
        if tag is not None:
            yield Fault(
                "json-shape",
                f"the Value of {tag} is no array",
                "Write every Value as an array (PS3.18 F.2.2).",
            )
            return


WELL_FORMED: tuple[Check, ...] = (has_value_representations, values_are_arrays, person_names_are_objects)


def at_most(number: int) -> Check:
    """`limit` is respected (PS3.18 8.3.4.4)."""

    def check(exchange: Exchange) -> Iterator[Fault]:
        if len(exchange.data_sets) > number:
            yield Fault(
                "limit-ignored",
                f"{len(exchange.data_sets)} items came for limit={number}",
                "Respect limit: a large archive would send its whole index to every visitor.",
                Severity.LIMITED,
                "Pages of the list are as long as the archive is large.",
            )

    return check


def continues(first: str) -> Check:
    """The page begins where `first`, asked for earlier with one item more and no offset, has its second item."""

    def check(exchange: Exchange) -> Iterator[Fault]:
        earlier = exchange.earlier.get(first)
        if earlier is None or len(earlier.data_sets) < 2 or not exchange.data_sets:
            return
        found = value(exchange.data_sets[0], STUDY)
        if found == value(earlier.data_sets[0], STUDY):
            yield Fault(
                "offset-ignored",
                "offset=1 gives the first item again",
                "Respect offset (PS3.18 8.3.4.4).",
                effect="Every page of the list is the first one.",
            )
        elif found != value(earlier.data_sets[1], STUDY):
            yield Fault(
                "pages-inconsistent",
                "offset=1 does not give the second item of the list",
                "Sort lists in one stable order, by Study Instance UID last.",
                Severity.LIMITED,
                "Studies appear twice in the list, or never.",
            )

    return check


def ends_after_the_last(exchange: Exchange) -> Iterator[Fault]:
    """dicomweb-client asks for pages until one is empty."""
    if exchange.data_sets:
        yield Fault(
            "offset-ignored",
            "an offset far beyond the end gives items",
            "Respect offset, and answer 204 or [] beyond the end (PS3.18 8.3.4.4).",
            effect="search_for_studies(get_remaining=True) never ends.",
        )


def finds(tag: str, placeholder: str) -> Check:
    """The subject is among what is found."""

    def check(exchange: Exchange) -> Iterator[Fault]:
        wanted = exchange.subject.values[placeholder]
        if wanted not in {value(item, tag) for item in exchange.data_sets}:
            yield Fault(
                "not-found",
                f"the {_UIDS[tag]} that the filter was made from is not among the {len(exchange.data_sets)} answers",
                "See how the server matches this attribute (PS3.4 C.2.2.2, PS3.18 8.3.4.1).",
                effect=None,
            )

    return check


def finds_both(exchange: Exchange) -> Iterator[Fault]:
    """A list of UIDs is matched (PS3.4 C.2.2.2.2)."""
    found = {value(item, STUDY) for item in exchange.data_sets}
    wanted = {exchange.subject.values["study"], exchange.subject.values["other_study"]}
    if not wanted <= found:
        yield Fault(
            "uid-list",
            f"{len(wanted & found)} of two studies are found by the list of their UIDs",
            "Match a list of UIDs, separated by a comma or a backslash (PS3.18 8.3.4.1, PS3.4 C.2.2.2.2).",
        )
    if found - wanted:
        yield _ignored(len(found - wanted))


def finds_only(tag: str, placeholder: str) -> Check:
    def check(exchange: Exchange) -> Iterator[Fault]:
        others = [item for item in exchange.data_sets if value(item, tag) != exchange.subject.values[placeholder]]
        if others:
            yield _ignored(len(others))

    return check


def finds_nothing(exchange: Exchange) -> Iterator[Fault]:
    """The filter was made so that nothing can match."""
    if exchange.data_sets:
        yield _ignored(len(exchange.data_sets))


def _ignored(number: int) -> Fault:
    return Fault(
        "filter-ignored",
        f"{number} item{'' if number == 1 else 's'} came that the filter does not match",
        "Apply the filter, or name it in a Warning header where it is not supported (PS3.18 8.3.4).",
        Severity.LIMITED,
        "Who filters the list sees studies that are not what was asked for.",
    )


def retrieve_url_is_absolute(exchange: Exchange) -> Iterator[Fault]:
    """Weasis appends to Retrieve URL (0008,1190) what it asks for next."""
    for item in exchange.data_sets:
        url = value(item, RETRIEVE_URL)
        if url is not None and not str(url).startswith(("http://", "https://")):
            yield Fault(
                "retrieve-url",
                "a Retrieve URL (00081190) is not absolute",
                "Write the whole URL as the client reaches it, or leave 00081190 out.",
            )
            return
