"""`make bench-memory`: what the processes of a server on its default settings occupy, by what it is given to do."""

import argparse
import re
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import chain
from pathlib import Path

import requests

from fileroom_storage.parse.part10 import encode_file_meta
from tests.large_bodies import JPEG_LS, MULTIPART, fragmented, message, multi_frame, new_study
from tests.made import CT_IMAGE_STORAGE, encoded, made, uid
from tests.served import Served
from tests.streaming_scu import EXPLICIT, IMPLICIT, STUDY_ROOT_GET, VERIFICATION, StreamingScu

MEGABYTE = 1_000_000
_FIELDS = ("VmHWM", "VmRSS", "RssAnon", "RssFile", "RssShmem")
_ENCAPSULATED = 2_140_000_000  # bytes, in so many fragments as are asked for
_ANY_FRAMES = "multipart/related; type=application/octet-stream; transfer-syntax=*"
_ANY_OBJECT = "multipart/related; type=application/dicom; transfer-syntax=*"
_INSTANCES_PER_STUDY = 10
_STUDY, _INSTANCE = "17000000", "19000000"  # what stands for them in the template of small objects
_SENDERS = 4

Memory = dict[int, dict[str, int]]  # process → field of /proc/PID/status → bytes


def main() -> None:
    arguments = _arguments()
    fragment = _ENCAPSULATED // arguments.fragments // 2 * 2  # PS3.5 A.4: of even length
    stages: dict[str, Callable[[Served], None]] = {
        "native": lambda served: large_object(
            served, "native", EXPLICIT, lambda *uids: multi_frame(arguments.frames, *uids)
        ),
        "fragments": lambda served: large_object(
            served, "fragments", JPEG_LS, lambda *uids: fragmented(arguments.fragments, fragment, *uids)
        ),
        "idle": lambda served: idle_associations(served, arguments.associations),
        "stores": lambda served: many_stores(served, arguments.stores),
        "requests": lambda served: many_requests(served, arguments.requests),
    }
    for name in arguments.stages or stages:
        with (
            tempfile.TemporaryDirectory(prefix="fileroom-memory-", dir=arguments.folder) as folder,
            Served(Path(folder) / "data", FILEROOM_DICOM__MAXIMUM_ASSOCIATIONS_PER_ADDRESS="64") as served,
        ):
            stages[name](served)


def memory(served: Served) -> Memory:
    """By process. VmHWM is the most that was ever resident, VmRSS what is: the sum of the other three."""
    found: Memory = {}
    for process in served.peak_memory():
        status = Path(f"/proc/{process}/status").read_text()
        found[process] = {field: int(re.findall(rf"{field}:\s+(\d+) kB", status)[0]) << 10 for field in _FIELDS}
    return found


def forget_peaks(served: Served) -> None:
    for process in served.peak_memory():
        Path(f"/proc/{process}/clear_refs").write_text("5")  # proc(5): VmHWM begins anew


def report(name: str, served: Served, before: Memory | None = None) -> None:
    """The process that has had most, the one that has grown most, and all together."""
    found = memory(served)
    largest = max(found, key=lambda process: found[process]["VmHWM"])
    megabytes = "  ".join(f"{field} {found[largest][field] / MEGABYTE:4.0f}" for field in _FIELDS)
    line = f"{name:32}  {megabytes} ({_name(largest)})"
    if before is not None:
        growth = {process: found[process]["VmHWM"] - before.get(process, {"VmRSS": 0})["VmRSS"] for process in found}
        most = max(growth, key=lambda process: growth[process])
        line += f"  most growth {growth[most] / MEGABYTE:3.0f} ({_name(most)})"
    print(f"{line}  all: VmRSS {total(found) / MEGABYTE:4.0f}", flush=True)


def report_each(name: str, served: Served) -> None:
    """What is resident now, of every process that did any work."""
    megabytes = [
        f"{_name(process)} {fields['VmRSS'] / MEGABYTE:5.1f} (anonymous {fields['RssAnon'] / MEGABYTE:5.1f})"
        for process, fields in memory(served).items()
        if process != served.process.pid
    ]
    print(f"{name:20}  {'  '.join(megabytes)}", flush=True)


def total(found: Memory, field: str = "VmRSS") -> int:
    return sum(process[field] for process in found.values())


@contextmanager
def task(name: str, served: Served) -> Iterator[None]:
    forget_peaks(served)
    before = memory(served)
    yield
    report(name, served, before)


def _name(process: int) -> str:
    return Path(f"/proc/{process}/comm").read_text().strip()


def large_object(served: Served, kind: str, syntax: str, data_set: Callable[[str, str], Iterator[bytes]]) -> None:
    """In by C-STORE and STOW-RS, out by C-GET and WADO-RS."""
    report(f"{kind}: nothing yet", served)
    study, stowed = new_study(), new_study()
    with task(f"{kind}: C-STORE", served), StreamingScu(served.dicom_port, [(CT_IMAGE_STORAGE, syntax)]) as scu:
        _expect(scu.store(CT_IMAGE_STORAGE, f"{study}.1.1", data_set(study, f"{study}.1.1")), 0)
    with task(f"{kind}: STOW-RS", served):
        meta = encode_file_meta(
            sop_class_uid=CT_IMAGE_STORAGE, sop_instance_uid=f"{stowed}.1.1", transfer_syntax_uid=syntax
        )
        body = message(chain([meta], data_set(stowed, f"{stowed}.1.1")))
        answer = requests.post(f"{served.dicomweb}/studies", body, headers={"Content-Type": MULTIPART}, timeout=3600)
        _expect(answer.status_code, 200)
    length = sum(map(len, data_set(study, f"{study}.1.1")))
    instance = f"{served.dicomweb}/studies/{study}/series/{study}.1/instances/{study}.1.1"
    with task(f"{kind}: WADO-RS, metadata", served):
        frames = int(requests.get(f"{instance}/metadata", timeout=600).json()[0]["00280008"]["Value"][0])
    with task(f"{kind}: WADO-RS, instance", served):
        _expect(_read(instance, _ANY_OBJECT) >= length, True)
    with task(f"{kind}: WADO-RS, frames/1-{frames}", served):
        _expect(_read(f"{instance}/frames/1-{frames}", _ANY_FRAMES) > length * 0.99, True)
    contexts = [(STUDY_ROOT_GET, IMPLICIT), (CT_IMAGE_STORAGE, syntax)]
    with task(f"{kind}: C-GET", served), StreamingScu(served.dicom_port, contexts, gets=[CT_IMAGE_STORAGE]) as scu:
        _expect(scu.get(study), length)


def idle_associations(served: Served, number: int) -> None:
    """Each has sent an object and a C-ECHO before it is idle: one that was never used costs less."""
    _store_some(served, range(8))  # what every first association loads is no cost of these
    before = memory(served)
    contexts = [(CT_IMAGE_STORAGE, EXPLICIT), (VERIFICATION, IMPLICIT)]
    with ExitStack() as stack:
        associations = [stack.enter_context(StreamingScu(served.dicom_port, contexts)) for _ in range(number)]
        opened = memory(served)
        for index, scu in enumerate(associations):
            _store_one(scu, 100 + index, pixels=1 << 20)
            _expect(scu.echo(), 0)
        used = memory(served)
        for name, after in (("opened", opened), ("used and idle again", used)):
            cost = total(after) - total(before)
            print(f"{number} associations, {name}: {cost / MEGABYTE:.1f} MB in all processes together", flush=True)


def many_stores(served: Served, number: int) -> None:
    """Small objects in studies of ten over four associations at a time, a new one for every hundred objects."""
    report_each("nothing yet", served)
    step = number // 5
    for first in range(0, number, step):
        numbers = range(first, first + step)
        with ThreadPoolExecutor(_SENDERS) as senders:
            list(senders.map(lambda part: _store_some(served, part), _parts(numbers, 100)))
        report_each(f"{first + step} C-STOREs", served)


def many_requests(served: Served, number: int) -> None:
    """Searches, metadata, objects and frames of what is stored, one client after the other."""
    _store_some(served, range(2000))
    report_each("nothing yet", served)
    step = number // 5
    for first in range(0, number, step):
        with ThreadPoolExecutor(_SENDERS) as readers:
            list(readers.map(lambda part: _request_some(served, part), _parts(range(first, first + step), 100)))
        report_each(f"{first + step} requests", served)


def _store_some(served: Served, numbers: range) -> None:
    with StreamingScu(served.dicom_port, [(CT_IMAGE_STORAGE, EXPLICIT)]) as scu:
        for number in numbers:
            _store_one(scu, number)


def _store_one(scu: StreamingScu, number: int, pixels: int = 2048) -> None:
    data_set = small_object(number, pixels)
    _expect(scu.store(CT_IMAGE_STORAGE, _uids(number)["SOPInstanceUID"], [data_set]), 0)


def small_object(number: int, pixels: int) -> bytes:
    """A slice: a patient, a study and a series to ten of them, and what slices differ in."""
    study, instance = _numbers(number)
    return _template(pixels).replace(_STUDY.encode(), study.encode()).replace(_INSTANCE.encode(), instance.encode())


@cache
def _template(pixels: int) -> bytes:
    return encoded(
        made(
            **_uids_of(_STUDY, _INSTANCE),
            PatientID=f"P{_STUDY}",
            PatientName=f"Family{_STUDY}^Given",
            AccessionNumber=f"A{_STUDY}",
            StudyDate="20260102",
            StudyDescription=f"Study {_STUDY}",
            SeriesDescription=f"Series {_STUDY}",
            InstanceNumber=_INSTANCE,
            SliceLocation=f"{_INSTANCE}.5",
            ImagePositionPatient=[f"{_INSTANCE}.25", "-100.5", f"{_INSTANCE}.75"],
            Rows=32,
            Columns=32,
            BitsAllocated=16,
            SamplesPerPixel=1,
            PixelData=bytes(pixels),
        )
    )


def _numbers(number: int) -> tuple[str, str]:
    """Of the study and of the instance, as long as those of the template."""
    return f"{int(_STUDY) + 1 + number // _INSTANCES_PER_STUDY}", f"{int(_INSTANCE) + 1 + number}"


def _uids(number: int) -> dict[str, str]:
    return _uids_of(*_numbers(number))


def _uids_of(study: str, instance: str) -> dict[str, str]:
    root = uid(4, study)
    return {"StudyInstanceUID": root, "SeriesInstanceUID": f"{root}.1", "SOPInstanceUID": f"{root}.1.{instance}"}


def _request_some(served: Served, numbers: range) -> None:
    with requests.Session() as session:
        for number in numbers:
            uids = _uids(number % 2000)
            study = f"{served.dicomweb}/studies/{uids['StudyInstanceUID']}"
            instance = f"{study}/series/{uids['SeriesInstanceUID']}/instances/{uids['SOPInstanceUID']}"
            paths = (
                f"{served.dicomweb}/studies?limit=20&offset={number % 100}",
                f"{served.dicomweb}/studies?PatientID=P{_numbers(number % 2000)[0]}",
                f"{study}/instances",
                f"{study}/metadata",
                f"{instance}/frames/1",
                instance,
            )
            accept = {instance: _ANY_OBJECT, f"{instance}/frames/1": _ANY_FRAMES}
            path = paths[number % len(paths)]
            answer = session.get(path, headers={"Accept": accept.get(path, "application/dicom+json")}, timeout=60)
            _expect(answer.status_code, 200)


def _read(url: str, accept: str) -> int:
    with requests.get(url, headers={"Accept": accept}, stream=True, timeout=600) as answer:
        _expect(answer.status_code, 200)
        return sum(len(chunk) for chunk in answer.iter_content(1 << 20))


def _parts(numbers: range, length: int) -> list[range]:
    return [numbers[start : start + length] for start in range(0, len(numbers), length)]


def _expect(found: object, expected: object) -> None:
    if found != expected:
        raise RuntimeError(f"{found} instead of {expected}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-memory", description=__doc__)
    parser.add_argument("--stages", nargs="*", choices=["native", "fragments", "idle", "stores", "requests"])
    parser.add_argument("--frames", type=int, default=4096, help="of 512 KiB, of the native object")
    parser.add_argument("--fragments", type=int, default=100_000, help="of the encapsulated object")
    parser.add_argument("--associations", type=int, default=50, help="that are held open")
    parser.add_argument("--stores", type=int, default=50_000, help="of small objects; a line after each fifth")
    parser.add_argument("--requests", type=int, default=20_000, help="by HTTP; a line after each fifth")
    parser.add_argument("--folder", type=Path, help="where the stores are; 5 GB are needed")
    return parser.parse_args()


if __name__ == "__main__":
    main()
