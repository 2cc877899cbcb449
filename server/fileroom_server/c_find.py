"""C-FIND SCP: answers stream from a cursor of the index to the peer."""

from collections.abc import Iterator
from contextlib import closing

from fileroom_server.dimse import Request, Response
from fileroom_server.identifier import read_find_identifier, write_answer
from fileroom_server.negotiation import find_model, options
from fileroom_server.status import CANCELLED, PENDING, PENDING_WITH_UNSUPPORTED_KEYS, SUCCESS, SopClassNotSupported
from fileroom_storage.attributes import standard_registry
from fileroom_storage.storage import Storage


def handle_c_find(request: Request, storage: Storage, retrieve_ae_title: str) -> Iterator[Response]:
    """One pending response a match, then success; as soon as the peer cancels, that it was cancelled."""
    model = find_model(request.sop_class_uid)
    if model is None:
        raise SopClassNotSupported("there is no C-FIND for this SOP Class")
    find = read_find_identifier(
        request.data_set,
        request.transfer_syntax,
        model,
        options(request.association, request.abstract_syntax),
        standard_registry(),
    )
    status = PENDING_WITH_UNSUPPORTED_KEYS if find.has_unsupported_keys else PENDING
    with closing(storage.find(find.query)) as answers:
        for answer in answers:
            if request.is_cancelled():
                yield Response(CANCELLED)
                return
            identifier = write_answer(answer, find, request.transfer_syntax, retrieve_ae_title)
            yield Response(status, identifier, more=True)
    yield Response(SUCCESS)
