"""A data set that is received without file meta information: written while it comes, digested while it is synced."""

import hashlib
from typing import TYPE_CHECKING

from .index.arrival import Provenance, instance_uids
from .ready_object import DIGESTED_MEANWHILE, own_file_meta, ready_object
from .store_outcome import StoreOutcome

if TYPE_CHECKING:
    from .receive import Buffer, Receiver


class IncomingDataSet:
    """A data set being received without its file meta information: on its way to the disk while the rest comes."""

    def __init__(
        self,
        receiver: "Receiver",
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        provenance: Provenance,
    ) -> None:
        self._receiver = receiver
        self._announced = (sop_class_uid, sop_instance_uid)
        self._transfer_syntax_uid = transfer_syntax_uid
        self._provenance = provenance
        self._meta = own_file_meta(sop_class_uid, sop_instance_uid, transfer_syntax_uid, provenance)
        self._digest = hashlib.sha256()
        self._is_large = False
        self._writer = receiver.create()
        self._writer.write(self._meta)

    def write(self, fragment: "Buffer") -> None:
        if self._is_large:
            self._digest.update(fragment)
        elif self._writer.size + len(fragment) >= DIGESTED_MEANWHILE.stop:
            # what is not read again at its end: by then it may have left the kernel's memory
            self._is_large = True
            self._digest.update(self._received())
            self._digest.update(fragment)
        self._writer.write(fragment)

    def discard(self) -> None:
        self._writer.discard()

    def store(self) -> StoreOutcome:
        """Returns once it is durable and indexed. Raises UnusableObject, StorageUnavailable; it is forgotten then."""
        with self._writer as writer:
            data_set = self._received()
            digest = self._digest.hexdigest if self._is_large else self._receiver.digest_meanwhile(data_set)
            header = self._receiver.header(data_set, self._transfer_syntax_uid, self._provenance.source)
            uids = instance_uids(header)
            if self._announced != (uids.sop_class_uid, uids.sop_instance_uid):
                # the file names what the object is, not what it was announced as
                outcome = self._receiver.rewrite(data_set, self._transfer_syntax_uid, self._provenance, None)
                return outcome.compared_with(*self._announced)
            return self._receiver.publish(
                ready_object(
                    writer,
                    data_set,
                    header,
                    uids,
                    self._transfer_syntax_uid,
                    len(self._meta),
                    self._provenance,
                    digest,
                )
            )

    def _received(self) -> memoryview:
        return memoryview(self._writer.buffer())[len(self._meta) :]
