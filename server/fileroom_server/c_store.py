"""C-STORE SCP: hands the encoded data set to storage, as it came."""

import logging
import uuid
from collections.abc import Iterator

from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE

from fileroom_server.access import check_allowed
from fileroom_server.dimse import Request, Response
from fileroom_server.dimse_audit import store_transfer
from fileroom_server.received_messages import Incoming, ReceivedDataSet
from fileroom_server.status import MISMATCH_WITH_REQUEST, SUCCESS, InvalidRequest
from fileroom_storage.storage import IncomingDataSet, Provenance, Storage, StoreOutcome

_log = logging.getLogger(__name__)


def handle_c_store(request: Request, storage: Storage) -> Iterator[Response]:
    """Success once the object is durable; one that conflicts with another is kept, and a success too."""
    message = request.message
    if not isinstance(message, C_STORE) or message.AffectedSOPInstanceUID is None:
        raise InvalidRequest("AffectedSOPInstanceUID is missing or too long")
    outcome = _stored(request, message, storage)
    if outcome.conflicts:
        _log.warning(
            "%s from %s conflicts with what is stored: %s",
            outcome.sop_instance_uid,
            request.calling_ae_title,
            ", ".join(outcome.conflicts),
        )
    if outcome.mismatched:
        _log.warning("%s was announced with another %s", outcome.sop_instance_uid, " and ".join(outcome.mismatched))
    yield Response(MISMATCH_WITH_REQUEST if outcome.mismatched else SUCCESS)


def begin_object(message: C_STORE, context_id: int, association: Association, storage: Storage) -> Incoming | None:
    """Begins to store what is being received; None where the request does not tell enough for it.

    Raises NotAuthorized: nothing is kept of what this peer may not store.
    """
    check_allowed(association, message)
    context = association._accepted_cx.get(context_id)
    sop_class_uid, sop_instance_uid = message.AffectedSOPClassUID, message.AffectedSOPInstanceUID
    if context is None or not sop_class_uid or not sop_instance_uid:
        return None
    if not (sop_class_uid.isascii() and sop_instance_uid.isascii()):
        return None
    return storage.receive_data_set(
        sop_class_uid=str(sop_class_uid),
        sop_instance_uid=str(sop_instance_uid),
        transfer_syntax_uid=str(context.transfer_syntax[0]),
        provenance=provenance(association, storage),
    )


def provenance(association: Association, storage: Storage) -> Provenance:
    """Who calls whom, from where; all instances of an association share it."""
    known: Provenance | None = vars(association).get("fileroom_provenance")
    if known is None:
        requested = association.requestor.primitive
        known = vars(association)["fileroom_provenance"] = Provenance(
            source="C-STORE",
            called_ae_title=str(requested.called_ae_title).strip(" ") if requested else None,
            calling_ae_title=str(association.requestor.ae_title).strip(" "),
            association=str(uuid.uuid4()),
            remote_address=association.requestor.address,
            transfer=store_transfer(association, storage),
        )
    return known


def _stored(request: Request, message: C_STORE, storage: Storage) -> StoreOutcome:
    received = message.DataSet
    if isinstance(received, ReceivedDataSet):
        received.check()
        if isinstance(received.incoming, IncomingDataSet):
            return received.incoming.store()
    return storage.store_data_set(
        request.data_set,
        sop_class_uid=str(request.sop_class_uid),
        sop_instance_uid=str(message.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(request.transfer_syntax),
        provenance=provenance(request.association, storage),
    )
