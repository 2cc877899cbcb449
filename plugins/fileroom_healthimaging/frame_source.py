"""The frames of an image set: GetImageFrame, several at once, through the cache."""

import logging
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from fileroom_storage.plugin import PixelsUnavailable, StorageError, StoredInstance

from .document import HTJ2K_LOSSLESS_RPCL, ImageFrame
from .frame_cache import FrameCache
from .image_set_service import ImageSetService
from .image_set_version import ImageSetName
from .invalid_document import InvalidDocument
from .metrics import FRAME_BYTES, FRAMES, HIT, MISS, UNMEASURED, Measuring

_log = logging.getLogger(__name__)

_MAXIMUM_SIZE = 1 << 30  # bytes of one frame
# of code streams of JPEG 2000 and HTJ2K (ISO/IEC 15444-1 A.4): how they begin and end
_CODE_STREAM = (b"\xff\x4f\xff\x51", b"\xff\xd9")
_ATTEMPTS = 2  # at a frame that is not what the document says


@dataclass(frozen=True, slots=True)
class FramesOfInstance:
    """Where the service has the frames of an instance, in the order of their numbers."""

    name: ImageSetName
    frames: Sequence[ImageFrame]


class HealthImagingFrames:
    """A FrameSource. `frames_of` finds an instance's frames by the key of its origin and its SOP Instance UID.

    All that is asked for in this process shares `concurrent` requests; an answer has at most so many frames in memory.
    """

    def __init__(
        self,
        service: ImageSetService,
        frames_of: Callable[[str, str], FramesOfInstance | None],
        cache: FrameCache,
        concurrent: int,
        measuring: Measuring = UNMEASURED,
    ) -> None:
        self._service = service
        self._frames_of = frames_of
        self._cache = cache
        self._measuring = measuring
        self._ahead = max(1, concurrent // 2)
        self._pool = ThreadPoolExecutor(concurrent, thread_name_prefix="healthimaging-frame")

    def frames(self, instance: StoredInstance, numbers: Sequence[int]) -> Iterator[bytes]:
        """In the order of `numbers`. Raises PixelsUnavailable."""
        known = self._known(instance)
        if any(not 1 <= number <= len(known.frames) for number in numbers):
            raise PixelsUnavailable(
                f"image set {known.name} has {len(known.frames)} frames of {instance.sop_instance_uid}, not those that "
                "were asked for; import it again: fileroom healthimaging import "
                f"datastore:{known.name}"
            )
        waiting: deque[Future[bytes]] = deque()
        try:
            for number in numbers:
                frame = known.frames[number - 1]
                waiting.append(self._pool.submit(self._frame, known.name, frame, instance.transfer_syntax_uid))
                if len(waiting) >= self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _known(self, instance: StoredInstance) -> FramesOfInstance:
        key = instance.origin.key if instance.origin is not None else ""
        known = self._frames_of(key, instance.sop_instance_uid)
        if known is None:
            raise PixelsUnavailable(
                f"nothing is known of the frames of {instance.sop_instance_uid} any more; its image set was changed or "
                "deleted meanwhile: search for it again"
            )
        return known

    def _frame(self, name: ImageSetName, frame: ImageFrame, transfer_syntax_uid: str) -> bytes:
        key = f"{name}/{frame.image_frame_id}"
        content = self._cache.get(key)
        if content is not None:
            self._measuring.count(FRAMES, HIT)
            self._measuring.count(FRAME_BYTES, HIT, by=len(content))
            return content
        self._measuring.count(FRAMES, MISS)
        wrong = ""
        for _ in range(_ATTEMPTS):
            try:
                content = self._service.frame(name, frame.image_frame_id, _MAXIMUM_SIZE)
            except (StorageError, InvalidDocument) as error:
                raise PixelsUnavailable(str(error)) from error
            wrong = what_is_wrong(content, frame, transfer_syntax_uid)
            if not wrong:
                self._cache.put(key, content)
                self._measuring.count(FRAME_BYTES, MISS, by=len(content))
                return content
            _log.warning("frame %s of image set %s %s", frame.image_frame_id, name, wrong)
        raise PixelsUnavailable(
            f"frame {frame.image_frame_id} of image set {name} {wrong}; try again later; if it stays so, import "
            f"the image set again: fileroom healthimaging import datastore:{name}"
        )


def what_is_wrong(content: bytes, frame: ImageFrame, transfer_syntax_uid: str) -> str:
    """Held against what the document says of a frame; empty where it can be right.

    Size and checksum are those of the bytes only where the service keeps these as they came; of what it made HTJ2K they
    are those of the pixels, and the code stream is looked at for being whole.
    """
    if not content:
        return "came empty"
    if transfer_syntax_uid == HTJ2K_LOSSLESS_RPCL:
        begin, end = _CODE_STREAM
        # a fragment may end in one byte of padding (PS3.5 A.4)
        is_whole = content.startswith(begin) and (content.endswith(end) or content[:-1].endswith(end))
        return "" if is_whole else "is no whole code stream of HTJ2K"
    if frame.frame_size is not None and len(content) != frame.frame_size:
        return f"has {len(content)} bytes instead of {frame.frame_size}"
    if frame.checksums and zlib.crc32(content) != frame.checksums[-1].checksum:
        return "does not have the checksum that its metadata says"
    return ""
