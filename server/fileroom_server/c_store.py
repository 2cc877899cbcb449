"""C-STORE SCP: hands the encoded data set to storage, as it came."""

import logging
import uuid
from collections.abc import Iterator

from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE

from fileroom_server.dimse import Request, Response
from fileroom_server.status import MISMATCH_WITH_REQUEST, SUCCESS, InvalidRequest
from fileroom_storage.storage import Provenance, Storage

_log = logging.getLogger(__name__)


def handle_c_store(request: Request, storage: Storage) -> Iterator[Response]:
    """Success once the object is durable; one that conflicts with another is kept, and a success too."""
    message = request.message
    if not isinstance(message, C_STORE) or message.AffectedSOPInstanceUID is None:
        raise InvalidRequest("AffectedSOPInstanceUID is missing or too long")
    outcome = storage.store_data_set(
        request.data_set,
        sop_class_uid=str(request.sop_class_uid),
        sop_instance_uid=str(message.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(request.transfer_syntax),
        provenance=provenance(request.association),
    )
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


def provenance(association: Association) -> Provenance:
    """Who calls whom, from where; all instances of an association share its identifier."""
    requested = association.requestor.primitive
    return Provenance(
        source="C-STORE",
        called_ae_title=str(requested.called_ae_title).strip(" ") if requested else None,
        calling_ae_title=str(association.requestor.ae_title).strip(" "),
        association=vars(association).setdefault("fileroom_uuid", str(uuid.uuid4())),
        remote_address=association.requestor.address,
    )
