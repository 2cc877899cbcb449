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
from typing import Any, BinaryIO

import numpy as np

# a frame of the largest size that is decoded needs a quarter of it
_MAXIMUM_MEMORY = 6 << 30
# of processor time for one frame: the largest takes half of it, and on damaged data some decoders never end
_MAXIMUM_SECONDS = 60
_LENGTHS = struct.Struct("<QQ")

_ADDRESS = re.compile(r" <[^<>]* at 0x[0-9a-f]+>")

Facts = dict[str, Any]


def write_message(file: BinaryIO, facts: Facts, data: bytes | memoryview) -> None:
    head = json.dumps(facts).encode()
    file.write(_LENGTHS.pack(len(head), len(data)) + head)
    file.write(data)
    file.flush()


def read_message(file: BinaryIO) -> tuple[Facts, bytes]:
    """Raises EOFError where the other side is gone."""
    head_length, length = _LENGTHS.unpack(_read(file, _LENGTHS.size))
    facts: Facts = json.loads(_read(file, head_length))
    return facts, _read(file, length)


def _read(file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise EOFError
    return data


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


def _limit_processor_time() -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    limit = int(usage.ru_utime + usage.ru_stime) + _MAXIMUM_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def main() -> None:
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    # decoders in C print what they think of their input
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _MAXIMUM_MEMORY if hard == resource.RLIM_INFINITY else min(_MAXIMUM_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    logging.disable()
    warnings.simplefilter("ignore")
    with contextlib.suppress(EOFError):
        while True:
            facts, frame = read_message(requests)
            _limit_processor_time()
            write_message(answers, *_decode(facts, frame))


if __name__ == "__main__":
    main()
