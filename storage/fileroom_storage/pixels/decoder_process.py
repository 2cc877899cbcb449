"""A process that does nothing but decode compressed frames: what a damaged one does to a decoder, it does only here.

Run as a module, it reads requests from standard input and answers on standard output until that is closed.
"""

import contextlib
import json
import logging
import os
import re
import resource
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .image_pixel import MAXIMUM_SAMPLES

# Beside what the process has when it is idle. A frame needs a quarter of it.
_LEAST_MEMORY = 512 << 20
_MEMORY_A_SAMPLE = 64
# Of processor time for one frame, which takes half of it: on damaged data some decoders never end.
_LEAST_SECONDS = 5
_SECONDS_A_SAMPLE = 55 / MAXIMUM_SAMPLES
_LONGEST_HEAD = 1 << 16
_LENGTHS = struct.Struct("<QQ")

_ADDRESS = re.compile(r" <[^<>]* at 0x[0-9a-f]+>")

Facts = dict[str, Any]


class Writable(Protocol):
    def write(self, data: bytes | memoryview, /) -> object: ...

    def flush(self) -> object: ...


class Readable(Protocol):
    def read(self, length: int, /) -> bytes: ...


def write_message(file: Writable, facts: Facts, data: bytes | memoryview) -> None:
    head = json.dumps(facts).encode()
    file.write(_LENGTHS.pack(len(head), len(data)) + head)
    file.write(data)
    file.flush()


def read_message(file: Readable, longest: int | None = None) -> tuple[Facts, bytes]:
    """Raises EOFError where the other side is gone, ValueError where it says what it cannot mean."""
    head_length, length = _LENGTHS.unpack(_read(file, _LENGTHS.size))
    if longest is not None and (head_length > _LONGEST_HEAD or length > longest):
        raise ValueError("a message is longer than it can be")
    facts: Facts = json.loads(_read(file, head_length))
    return facts, _read(file, length)


def _read(file: Readable, length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise EOFError
    return data


def number_of_samples(facts: Facts) -> int:
    options = facts["options"]
    return int(options["rows"] * options["columns"] * options["samples_per_pixel"])


def seconds_for(facts: Facts) -> int:
    """Of processor time, that the decoding of a frame may take."""
    return int(_LEAST_SECONDS + _SECONDS_A_SAMPLE * number_of_samples(facts))


def request_facts(transfer_syntax_uid: str, plugins: Sequence[str], options: Facts) -> Facts:
    """What goes with an encoded frame: `options` as pydicom wants them, and its plugins to be tried in turn."""
    return {"transfer_syntax_uid": transfer_syntax_uid, "plugins": plugins, "options": options}


def _decode(facts: Facts, frame: bytes) -> tuple[Facts, bytes | memoryview]:
    """The stored values and what they are; or `error`, which says why there are none."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder

    data = encapsulate([frame], has_bot=False)
    errors = []
    for plugin in facts["plugins"]:
        try:
            samples, properties = get_decoder(facts["transfer_syntax_uid"]).as_array(
                data, index=0, raw=True, decoding_plugin=plugin, **facts["options"]
            )
        except BaseException as error:  # noqa: BLE001  # what they like, and panics of those in Rust are no Exception
            errors.append(" ".join(str(error).split()) or type(error).__name__)
        else:
            samples = np.ascontiguousarray(samples)
            answer = {
                "dtype": samples.dtype.str,
                "shape": samples.shape,
                "photometric_interpretation": str(properties["photometric_interpretation"]),
                "plugin": plugin,
            }
            return answer, samples.data.cast("B")
    return {"error": _ADDRESS.sub("", errors[0].rpartition("plugins: ")[2])[:200]}, b""


def _limit(facts: Facts) -> None:
    """What this frame may take: who asks for more memory gets none, who takes more time is killed."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime) + seconds_for(facts))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * resource.getpagesize() + _LEAST_MEMORY + _MEMORY_A_SAMPLE * number_of_samples(facts)
    _lower(resource.RLIMIT_AS, memory)


def _lower(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def main() -> None:
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    # decoders in C print what they think of their input
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable()
    warnings.simplefilter("ignore")
    with contextlib.suppress(EOFError):
        while True:
            facts, frame = read_message(requests)
            _limit(facts)
            write_message(answers, *_decode(facts, frame))


if __name__ == "__main__":
    main()
