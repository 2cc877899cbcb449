"""fileroom's services in an application entity of your own.

Run it with a folder for the data: `python docs/examples/own_ae.py DIR`; it answers at port 11113 of this machine.
"""

import sys
from pathlib import Path
from typing import Any

from pynetdicom import AE
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]  # made at import

from fileroom_server.application_entity import event_handlers
from fileroom_storage.storage import Storage, StorageSettings


def serve(storage: Storage, port: int, *, block: bool = True) -> Any:
    entity = AE(ae_title="OWN_AE")
    # whatever it does already: here a worklist, which it would serve with handlers of its own beside ours
    entity.add_supported_context(ModalityWorklistInformationFind)
    return entity.start_server(("127.0.0.1", port), block=block, evt_handlers=event_handlers(storage, "OWN_AE"))


if __name__ == "__main__":
    with Storage.open(StorageSettings(data=Path(sys.argv[1]), retrieve_ae_title="OWN_AE")) as storage:
        storage.create_schema_if_empty()
        serve(storage, 11113)
