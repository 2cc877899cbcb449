"""C-GET SCP: sends what is asked for over the association that asks."""

from collections.abc import Iterator
from contextlib import closing
from itertools import zip_longest

from fileroom_server.dimse import Request, Response
from fileroom_server.dimse_audit import Retrieval
from fileroom_server.identifier import read_retrieve_identifier
from fileroom_server.negotiation import options, retrieve_model
from fileroom_server.status import SopClassNotSupported
from fileroom_server.sub_operations import Outcome, Sender, Tally
from fileroom_storage.attributes import standard_registry
from fileroom_storage.storage import Storage


def handle_c_get(request: Request, storage: Storage) -> Iterator[Response]:
    """A pending response a sub-operation, then the outcome with the UIDs of what could not be sent."""
    model = retrieve_model(request.sop_class_uid)
    if model is None:
        raise SopClassNotSupported("there is no C-GET for this SOP Class")
    keys = read_retrieve_identifier(
        request.data_set,
        request.transfer_syntax,
        model,
        options(request.association, request.abstract_syntax),
        standard_registry(),
    )
    instances = list(storage.locate(keys))
    tally = Tally(request, len(instances))
    sender = Sender(request.association, storage, request)
    retrieval = Retrieval(request, storage, instances)
    with closing(retrieval), closing(sender):
        for instance, following in zip_longest(instances, instances[1:]):
            if request.is_cancelled():
                yield tally.cancelled()
                return
            outcome = sender.send(instance, following)
            tally.count(instance, outcome)
            retrieval.count(instance, is_sent=outcome is not Outcome.FAILED)
            # goes out with the next object
            yield tally.pending(more=following is not None)
    yield tally.final()
