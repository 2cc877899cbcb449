"""What is accepted of an association that a peer proposes: presentation contexts and extended negotiation."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.service_class import NonPatientObjectStorageServiceClass, ServiceClass, StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

from fileroom_server.peer_services import ALL_SERVICES, PeerService
from fileroom_storage.attributes import Level
from fileroom_storage.pixels.transfer_syntaxes import UNCOMPRESSED

VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT_PUSH_MODEL = "1.2.840.10008.1.20.1"
STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"  # PS3.4 J.3.5
_MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
_DICOM_ROOT = "1.2.840.10008."
# PS3.4 B.5 gives the SOP Classes of composite instances UIDs under this one
_COMPOSITE_STORAGE_ROOT = "1.2.840.10008.5.1.4.1.1."


@dataclass(frozen=True, slots=True)
class InformationModel:
    """A Query/Retrieve Information Model (PS3.4 C.6): its levels, and the SOP Classes of its services."""

    name: str
    levels: tuple[Level, ...]
    find: str
    move: str
    get: str


_ALL = tuple(Level)
MODELS = (
    InformationModel("Patient Root", _ALL, *(f"1.2.840.10008.5.1.4.1.2.1.{service}" for service in (1, 2, 3))),
    InformationModel("Study Root", _ALL[1:], *(f"1.2.840.10008.5.1.4.1.2.2.{service}" for service in (1, 2, 3))),
    InformationModel(
        "Patient/Study Only", _ALL[:2], *(f"1.2.840.10008.5.1.4.1.2.3.{service}" for service in (1, 2, 3))
    ),
)
_FIND_MODELS = {model.find: model for model in MODELS}
_RETRIEVE_MODELS = {uid: model for model in MODELS for uid in (model.move, model.get)}


def find_model(sop_class_uid: str) -> InformationModel | None:
    return _FIND_MODELS.get(sop_class_uid)


def retrieve_model(sop_class_uid: str) -> InformationModel | None:
    return _RETRIEVE_MODELS.get(sop_class_uid)


def supported_contexts(*, storage_commitment: bool = False) -> list[PresentationContext]:
    """The contexts that are known before anybody calls; those of storage depend on what is proposed."""
    uids = [VERIFICATION, *(uid for model in MODELS for uid in (model.find, model.move, model.get))]
    if storage_commitment:
        uids.append(STORAGE_COMMITMENT_PUSH_MODEL)
    return [build_context(uid, list(UNCOMPRESSED)) for uid in uids]


def service_of(uid: UID) -> PeerService | None:
    """The service that an abstract syntax belongs to; None for what is none of ours."""
    if uid == VERIFICATION:
        return PeerService.ECHO
    if uid == STORAGE_COMMITMENT_PUSH_MODEL:
        return PeerService.COMMIT
    for model in MODELS:
        if uid in (model.find, model.move, model.get):
            return {model.find: PeerService.FIND, model.move: PeerService.MOVE, model.get: PeerService.GET}[uid]
    return PeerService.STORE if is_storage(uid) else None


def denied_services(association: Association, allowed: frozenset[PeerService]) -> set[PeerService]:
    """The services that are proposed and not allowed."""
    requested = association.requestor.primitive
    proposals = requested.presentation_context_definition_list if requested else []
    wanted = {service_of(proposal.abstract_syntax) for proposal in proposals if proposal.abstract_syntax}
    if PeerService.GET in allowed:
        wanted.discard(PeerService.STORE)  # proposed for the objects that a C-GET sends back
    return {service for service in wanted if service is not None and service not in allowed}


def accept_storage(
    association: Association, allowed: frozenset[PeerService] = ALL_SERVICES, *, storage_commitment: bool = False
) -> None:
    """Makes this association support what is proposed of the services that are allowed.

    Every storage SOP Class is supported, in the proposer's first transfer syntax. To be called before pynetdicom
    negotiates; nothing else than this association is changed.
    """
    requested = association.requestor.primitive
    if requested is None:
        return
    supported = {context.abstract_syntax: context for context in association.acceptor.supported_contexts}
    for context in supported_contexts(storage_commitment=storage_commitment):
        supported.setdefault(context.abstract_syntax, context)
    syntaxes: dict[UID, list[str | UID]] = {}
    for proposal in requested.presentation_context_definition_list:
        uid = proposal.abstract_syntax
        if uid is not None and is_storage(uid) and proposal.transfer_syntax:
            # pynetdicom prefers what the acceptor has first, and knows one list for all contexts of a SOP Class
            first = proposal.transfer_syntax[0]
            proposal.transfer_syntax = [first]
            syntaxes.setdefault(uid, []).append(first)
    roles = association.requestor.role_selection
    for uid, accepted in syntaxes.items():
        context = build_context(uid, accepted)
        # PS3.4 C.5.3: a C-GET needs the roles the other way round; without role selection the usual ones stay
        context.scu_role = context.scp_role = True
        if PeerService.STORE not in allowed:
            # only to be sent to: PS3.7 D.3.3.4, the proposer is SCP
            if PeerService.GET not in allowed or uid not in roles or not roles[uid].scp_role:
                continue
            context.scu_role = False
        supported[uid] = context
    # what is not supported is rejected as an abstract syntax that is not (PS3.8 9.3.3.2)
    association.acceptor.supported_contexts = [
        context for uid, context in supported.items() if uid is None or _is_allowed(uid, allowed)
    ]


def _is_allowed(uid: UID, allowed: frozenset[PeerService]) -> bool:
    service = service_of(uid)
    # storage has been looked at
    return service is None or service in allowed or service is PeerService.STORE


def has_usable_contexts(association: Association) -> bool:
    """Whether each proposed context names an abstract syntax and a transfer syntax (PS3.8 9.3.2.2)."""
    requested = association.requestor.primitive
    proposals = requested.presentation_context_definition_list if requested else []
    return all(proposal.abstract_syntax and proposal.transfer_syntax for proposal in proposals)


def is_storage(uid: UID) -> bool:
    """Whether a SOP Class is one of storage: retired, private and unknown ones are taken for it."""
    service_class = uid_to_service_class(uid)
    if service_class is not ServiceClass:
        return service_class in (StorageServiceClass, NonPatientObjectStorageServiceClass)
    if not uid.startswith(_DICOM_ROOT):
        return True
    if uid in UID_dictionary:
        name, kind = UID_dictionary[uid][:2]
        return (
            kind == "SOP Class" and "Storage" in name and "Commitment" not in name and uid != _MEDIA_STORAGE_DIRECTORY
        )
    return uid.startswith(_COMPOSITE_STORAGE_ROOT)


@dataclass(frozen=True, slots=True)
class Options:
    """What extended negotiation switched on for one SOP Class."""

    relational: bool = False
    combined_datetime: bool = False
    fuzzy: bool = False


# PS3.4 Table C.5-1: relational queries, combined date-time matching, fuzzy semantic matching of person names,
# timezone query adjustment, enhanced multi-frame image conversion
_FIND_SUPPORT = b"\x01\x01\x01\x00\x00"
# PS3.4 Table C.5-3: relational retrieval, enhanced multi-frame image conversion
_RETRIEVE_SUPPORT = b"\x01\x00"


def extended_negotiation(requested: dict[UID, bytes]) -> dict[UID, bytes]:
    """The answer to the SOP Class Extended Negotiation of a peer: what it asked for and we support."""
    return dict(_negotiated(requested))


def options(association: Association, sop_class_uid: str) -> Options:
    """What is switched on for this SOP Class on this association."""
    accepted = extended_negotiation(association.requestor.sop_class_extended).get(UID(sop_class_uid), b"")
    switches = [byte == 1 for byte in accepted.ljust(len(_FIND_SUPPORT), b"\x00")]
    if sop_class_uid not in _FIND_MODELS:
        return Options(relational=switches[0])
    return Options(*switches[:3])


def _negotiated(requested: dict[UID, bytes]) -> Iterator[tuple[UID, bytes]]:
    for uid, wanted in requested.items():
        support = _FIND_SUPPORT if uid in _FIND_MODELS else _RETRIEVE_SUPPORT if uid in _RETRIEVE_MODELS else b""
        # bytes of later editions, which we do not know, are not answered
        answer = bytes(want & can for want, can in zip(wanted or b"", support, strict=False))
        if answer:
            yield uid, answer
