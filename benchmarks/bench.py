"""`make bench`: the same work on fileroom and its peers, in turn, and one table of it."""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import tasks
from benchmarks.peers import PEERS, Fileroom, Peer, free_port
from benchmarks.work import LARGE, SMALL, Work, make_work

REFERENCE = "Orthanc"
Results = dict[str, dict[str, list[float]]]  # task, peer, rates

# PS3.4 keys of the queries
_STUDY_KEYS = ("0008,0052=STUDY", "0010,0010=Bench*", "0020,000d", "0010,0020", "0008,0020", "0008,0061", "0020,1208")


def main() -> None:
    arguments = _arguments()
    chosen = [peer for peer in PEERS if not arguments.peers or peer.name in arguments.peers]
    missing = [peer.name for peer in chosen if not peer.is_installed()]
    if missing:
        print(f"not installed, so not measured: {', '.join(missing)}", file=sys.stderr)
    installed = [peer for peer in chosen if peer.is_installed()]
    results: Results = {}
    with tempfile.TemporaryDirectory(prefix="fileroom-bench-", dir=arguments.folder) as folder:
        print(f"making {arguments.small} + {arguments.large} objects", file=sys.stderr)
        work = make_work(Path(folder) / "work", arguments.small, arguments.large)
        bench = _Bench(work, Path(folder), results, arguments)
        for number in range(1, arguments.rounds + 1):
            for stage in (bench.store_and_retrieve, bench.store_by_four, bench.store_stock):
                if stage.__name__ in (arguments.stages or stage.__name__):
                    for peer in installed:
                        print(f"round {number}: {peer.name}: {stage.__name__}", file=sys.stderr)
                        stage(peer)
            if any(peer is Fileroom for peer in installed) and "import" in (arguments.stages or "import"):
                bench.import_files()
    report = table(results, [peer.name for peer in installed])
    print(report)
    if arguments.output:
        versions = "\n".join(f"- {peer.name}: {peer.version()}" for peer in installed)
        arguments.output.write_text(_document(report, versions, arguments))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


# what fileroom is to do for each that Orthanc does
AIMS = {
    "C-STORE, 1 association": 1.5,
    "C-FIND, STUDY, name with wildcard": 3,
    "C-FIND, IMAGE, a series": 3,
    "metadata of a series, first request": 3,
    "metadata of a series, later requests": 50,
    "QIDO-RS /studies": 40,
    "QIDO-RS /studies?PatientID=": 40,
    "QIDO-RS instances of a series": 60,
    "WADO-RS frames": 3.5,
    "C-GET, a series": 1.5,
    "C-MOVE, a series": 1.5,
    "C-STORE, 4 associations": 2.5,
    "C-STORE, stock storescu, 1 association": 20,
    "import": 5,
}


class _Bench:
    """One stage on one peer at a time, each with a fresh store."""

    def __init__(self, work: Work, folder: Path, results: Results, arguments: argparse.Namespace) -> None:
        self._work = work
        self._folder = folder
        self._results = results
        self._stock = arguments.stock

    def store_and_retrieve(self, kind: type[Peer]) -> None:
        work, series = self._work, self._work.large[0]
        peer = self._start(kind, no_delay=True)
        try:
            self._task(
                "C-STORE, 1 association",
                SMALL,
                peer,
                lambda: tasks.store(peer, work.small, associations=1, no_delay=True),
            )
            self._task(
                "C-STORE, 1 association",
                LARGE,
                peer,
                lambda: tasks.store(peer, work.large, associations=1, no_delay=True),
            )
            self._task("C-FIND, STUDY, name with wildcard", "", peer, lambda: tasks.find(peer, _STUDY_KEYS, 200, 6))
            image_keys = (
                "0008,0052=IMAGE",
                f"0020,000d={series.study_instance_uid}",
                f"0020,000e={series.series_instance_uid}",
                *("0008,0018", "0020,0013", "0008,0016"),
            )
            count = len(series.sop_instance_uids)
            self._task("C-FIND, IMAGE, a series", "", peer, lambda: tasks.find(peer, image_keys, 6, count))
            if peer.has_dicomweb:
                self._dicomweb(peer)
            self._task("C-GET, a series", LARGE, peer, lambda: tasks.get(peer, series))
            self._task("C-MOVE, a series", LARGE, peer, lambda: tasks.move(peer, series))
        finally:
            peer.stop()

    def _dicomweb(self, peer: Peer) -> None:
        series = self._work.large[1]
        root, study = peer.dicomweb, f"{peer.dicomweb}/studies/{series.study_instance_uid}"
        both: list[float] = []
        self._task(
            "metadata of a series, first request",
            LARGE,
            peer,
            lambda: both.extend(tasks.metadata(peer, series)) or both[0],
        )
        if both:
            self._record("metadata of a series, later requests", LARGE, peer, both[1])
        self._task("QIDO-RS /studies", "", peer, lambda: tasks.http_rate([f"{root}/studies"]))
        self._task(
            "QIDO-RS /studies?PatientID=",
            "",
            peer,
            lambda: tasks.http_rate([f"{root}/studies?PatientID={series.patient_id}"]),
        )
        instances = f"{study}/series/{series.series_instance_uid}/instances"
        self._task("QIDO-RS instances of a series", "", peer, lambda: tasks.http_rate([instances]))
        self._task("WADO-RS frames", LARGE, peer, lambda: tasks.frames(peer, series))

    def store_by_four(self, kind: type[Peer]) -> None:
        peer = self._start(kind, no_delay=True)
        try:
            for size, studies in ((SMALL, self._work.small), (LARGE, self._work.large)):
                self._task(
                    "C-STORE, 4 associations",
                    size,
                    peer,
                    lambda studies=studies: tasks.store(peer, studies, associations=4, no_delay=True),
                )
        finally:
            peer.stop()

    def store_stock(self, kind: type[Peer]) -> None:
        for associations in (1, 4):
            peer = self._start(kind, no_delay=False)
            try:
                for size, studies in ((SMALL, self._work.small), (LARGE, self._work.large)):
                    name = f"C-STORE, stock storescu, {associations} association{'s' if associations > 1 else ''}"
                    self._task(
                        name,
                        size,
                        peer,
                        lambda peer=peer, studies=studies, associations=associations: tasks.store(
                            peer, studies, associations=associations, no_delay=False, limit=self._stock
                        ),
                    )
            finally:
                peer.stop()

    def import_files(self) -> None:
        for size, studies in ((SMALL, self._work.small), (LARGE, self._work.large)):
            rate = tasks.import_files(self._folder / "import", studies)
            self._results.setdefault(f"import|{size}", {}).setdefault(Fileroom.name, []).append(rate)

    def _start(self, kind: type[Peer], *, no_delay: bool) -> Peer:
        time.sleep(1)
        return kind(self._folder / "peer", free_port(), no_delay=no_delay)

    def _task(self, name: str, size: str, peer: Peer, run: Callable[[], float]) -> None:
        try:
            self._record(name, size, peer, run())
        except (tasks.Failed, OSError, ValueError) as error:
            print(f"  {peer.name}: {name} {size}: {error}", file=sys.stderr)
        except Exception as error:  # noqa: BLE001  # a peer that cannot do one thing may do the next
            print(f"  {peer.name}: {name} {size}: {type(error).__name__} {error}", file=sys.stderr)

    def _record(self, name: str, size: str, peer: Peer, rate: float) -> None:
        print(f"  {peer.name}: {name} {size}: {rate:.1f}/s", file=sys.stderr)
        self._results.setdefault(f"{name}|{size}", {}).setdefault(peer.name, []).append(rate)


def table(results: Results, peers: list[str]) -> str:
    """Markdown: a row a task, a column a peer, with the median and the spread, the ratio to Orthanc, and its aim."""
    lines = ["| task, each a second | object | " + " | ".join(peers) + f" | fileroom : {REFERENCE} | aim |"]
    lines.append("|---|---|" + "---|" * (len(peers) + 2))
    for task, rates in results.items():
        name, _, size = task.partition("|")
        cells = [_cell(rates.get(peer)) for peer in peers]
        ours = rates.get(Fileroom.name)
        reference = rates.get(REFERENCE) or results.get(f"C-STORE, 1 association|{size}", {}).get(REFERENCE)
        ratio, aim = "", AIMS.get(name)
        if ours and reference:
            reached = statistics.median(ours) / statistics.median(reference)
            ratio = f"{reached:.1f}"
            if aim is not None and reached < aim:
                ratio = f"**{ratio}**"
        lines.append(f"| {name} | {size} | " + " | ".join(cells) + f" | {ratio} | {aim or ''} |")
    return "\n".join(lines)


def _cell(rates: list[float] | None) -> str:
    if not rates:
        return ""
    median = statistics.median(rates)
    digits = 0 if median >= 100 else 1 if median >= 10 else 2
    spread = f" ({min(rates):.{digits}f}–{max(rates):.{digits}f})" if len(rates) > 1 else ""
    return f"{median:.{digits}f}{spread}"


def _document(report: str, versions: str, arguments: argparse.Namespace) -> str:
    command = " ".join(["make bench", *(["ARGS='" + " ".join(sys.argv[1:]) + "'"] if sys.argv[1:] else [])])
    return (
        "# Results\n\n"
        f"Made by `{command}` on {time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}, {arguments.rounds} rounds; the median, with the lowest and the highest.\n"
        f"`import` is compared with {REFERENCE}'s C-STORE over one association. README.md says what each task is.\n"
        "What is below its aim is bold. [LEVERS.md](LEVERS.md) says which levers paid.\n\n"
        f"{report}\n\n## Versions\n\n{versions}\n"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", type=int, default=2000, help="objects of 39 KB, a multiple of 4")
    parser.add_argument("--large", type=int, default=1200, help="objects of 525 KB, a multiple of 4")
    parser.add_argument("--stock", type=int, default=300, help="objects that stock storescu sends")
    parser.add_argument("--peers", nargs="*", help="only these, by name")
    parser.add_argument("--stages", nargs="*", help="only store_and_retrieve, store_by_four, store_stock, import")
    parser.add_argument("--folder", type=Path, help="where the stores are; by default the folder for temporary files")
    parser.add_argument("--output", type=Path, help="write the table there too")
    parser.add_argument("--json", type=Path, help="write every single rate there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
