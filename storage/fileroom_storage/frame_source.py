"""Who gives the frames of instances whose pixels are elsewhere, and what they are asked."""

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from .errors import PixelsUnavailable, StorageError
from .query.locate import StoredInstance

_log = logging.getLogger(__name__)


class FrameSource(Protocol):
    """Gives the frames of instances that it has brought into the index. Any thread may ask."""

    def frames(self, instance: StoredInstance, numbers: Sequence[int]) -> Iterator[bytes]:
        """The frames with these numbers, counted from 1, in this order, each as one bit stream.

        They are in the transfer syntax that the index has for the instance; `instance.origin` has the key under which
        the source knows it. Raises PixelsUnavailable, with what to do about it.
        """
        ...


class FrameSources:
    """By the name of the source. What a source raises is told by UID, and becomes PixelsUnavailable."""

    def __init__(self) -> None:
        self._sources: dict[str, FrameSource] = {}

    def register(self, name: str, source: FrameSource) -> None:
        self._sources[name] = source

    def frames(self, instance: StoredInstance, numbers: Sequence[int]) -> Generator[bytes, None, None]:
        """All that are asked for, which the instance has, or an error. Raises PixelsUnavailable."""
        given = 0
        with _told(instance):
            for frame in self._source_of(instance).frames(instance, numbers):
                given += 1
                yield frame
            if given != len(numbers):
                raise PixelsUnavailable(
                    f"{given} of {len(numbers)} frames of {instance.sop_instance_uid} came from {_name(instance)}; "
                    "try again later"
                )

    def _source_of(self, instance: StoredInstance) -> FrameSource:
        source = self._sources.get(_name(instance))
        if source is None:
            raise PixelsUnavailable(
                f"the pixels of {instance.sop_instance_uid} are in {_name(instance)}, which this server does not ask; "
                "enable its plugin"
            )
        return source


def _name(instance: StoredInstance) -> str:
    return instance.origin.source if instance.origin is not None else ""


@contextmanager
def _told(instance: StoredInstance) -> Iterator[None]:
    try:
        yield
    except PixelsUnavailable as error:
        _log.warning("frames of %s cannot be had: %s", instance.sop_instance_uid, error)
        raise
    except StorageError:
        raise
    except Exception as error:
        # its text may hold anything
        _log.warning(
            "frames of %s cannot be had from %s: %s",
            instance.sop_instance_uid,
            _name(instance),
            type(error).__name__,
        )
        raise PixelsUnavailable(
            f"{_name(instance)} does not give the pixels of {instance.sop_instance_uid} now; try again later"
        ) from error
