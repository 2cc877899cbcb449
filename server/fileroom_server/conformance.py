"""Writes docs/conformance.md, the DICOM conformance statement, from what the code declares: `make docs`."""

from collections.abc import Iterable, Iterator
from importlib.resources import files
from string import Template

from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID

from fileroom_storage.attributes import Attribute, KeyType, Level, Origin, matching_types, standard_registry
from fileroom_storage.pixels.transfer_syntaxes import TARGETS

from .config import DicomConfiguration
from .config_storage_commitment import StorageCommitmentConfiguration
from .conformance_dicomweb import dicomweb_services
from .negotiation import (
    MODELS,
    STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE,
    is_storage,
    supported_contexts,
)
from .peer_services import PeerService
from .status import FAILURE_MEANINGS
from .tls import CIPHER_SUITES

_KEY_TYPES = {KeyType.UNIQUE: "unique", KeyType.REQUIRED: "required", KeyType.OPTIONAL: "optional"}
_ORIGINS = {Origin.HEADER: "", Origin.COUNTED: "kept by the index", Origin.SERVER: "the same for all"}
_FAILURES = {
    0x0110: "the index has the instance, but its object is lost or not as it came in; the log says more",
    0x0112: "nothing is stored under this SOP Instance UID: it never came, came later, was deleted or rejected; "
    "or only its header is here, and another system has its pixels",
    0x0119: "it is stored, as an instance of another SOP Class",
    0x0122: "it is not stored, and never will be: the SOP Class named is none of storage",
}


def statement() -> str:
    """The whole conformance statement in Markdown."""
    template = files(__package__).joinpath("conformance_template.md").read_text(encoding="utf-8")
    dicom = DicomConfiguration()
    commitment = StorageCommitmentConfiguration()
    classes = _storage_classes()
    return Template(template).substitute(
        ae_title=dicom.ae_title,
        port=dicom.port,
        maximum_pdu_size=dicom.maximum_pdu_size,
        maximum_associations=dicom.maximum_associations,
        maximum_associations_per_address=dicom.maximum_associations_per_address,
        maximum_find_results=f"{dicom.maximum_find_results:,}",
        cipher_suites=", ".join(CIPHER_SUITES),
        services=", ".join(f"`{service}`" for service in PeerService),
        contexts=_contexts(),
        storage_class_count=len(classes),
        storage_classes=_table(("SOP Class", "UID"), ((_name(uid) + _retired(uid), f"`{uid}`") for uid in classes)),
        information_models=_table(
            ("information model", "levels"), ((model.name, ", ".join(model.levels)) for model in MODELS)
        ),
        keys="\n\n".join(_keys()),
        targets=_names(TARGETS),
        commitment_instance=f"`{STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE}`",
        first_pause=f"{commitment.first_pause:.0f}",
        longest_pause=f"{commitment.longest_pause:.0f}",
        give_up_days=f"{commitment.give_up_after / 86_400:.0f}",
        failure_reasons=_table(
            ("Failure Reason", "meaning", "when"),
            ((f"{code:04X}", FAILURE_MEANINGS[code], _FAILURES[code]) for code in sorted(FAILURE_MEANINGS)),
        ),
        dicomweb=dicomweb_services(),
    )


def _contexts() -> str:
    rows = [
        (_name(str(context.abstract_syntax)), f"`{context.abstract_syntax}`", _names(context.transfer_syntax), "SCP")
        for context in supported_contexts(storage_commitment=True)
    ]
    proposed = "any that is proposed, the first of each context; the object is kept in it"
    rows.append(("every storage SOP Class", "see below", proposed, "SCP; SCU where selected"))
    return _table(("SOP Class", "UID", "transfer syntaxes", "role"), rows)


def _storage_classes() -> list[str]:
    known = (uid for uid, entry in UID_dictionary.items() if entry[1] == "SOP Class" and is_storage(UID(uid)))
    return sorted(known, key=lambda uid: [int(part) for part in uid.split(".")])


def _keys() -> Iterator[str]:
    head = ("attribute", "tag", "VR", "key", "matching", "origin")
    for level in Level:
        rows = standard_registry().at_level(level)
        yield f"### Keys of level {level}\n\n{_table(head, (_key(row) for row in rows))}"


def _key(row: Attribute) -> tuple[str, ...]:
    tag = f"({row.tag_hex[:4]},{row.tag_hex[4:]})"
    name = f"{row.keyword} › {', '.join(row.items)}" if row.items else row.keyword
    return name, tag, row.vr, _KEY_TYPES[row.key_type], ", ".join(matching_types(row)), _ORIGINS[row.origin]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], f"|{'---|' * len(head)}", *lines[1:]])


def _name(uid: str) -> str:
    return UID(uid).name.removesuffix(" (Retired)")


def _retired(uid: str) -> str:
    """Some share their name with what replaced them."""
    return " (retired)" if UID_dictionary[uid][3] else ""


def _names(uids: Iterable[str]) -> str:
    return ", ".join(_name(uid) for uid in uids)


def main() -> None:
    print(statement(), end="")  # noqa: T201  # this is what it is for


if __name__ == "__main__":
    main()
