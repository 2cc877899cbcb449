"""`make bench-against`: C-STORE of this tree beside that of another revision, in short turns.

A machine that others use is faster in one minute and slower in the next: what differs by a tenth is seen only where
both are asked in turn, many times, and the medians are compared.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import tasks
from benchmarks.peers import Fileroom, Orthanc, Peer, free_port
from benchmarks.work import Study, make_work

_PACKAGES = ("storage", "server", "dicomweb", "plugins")
_TICK = 1000 / os.sysconf("SC_CLK_TCK")  # ms


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="fileroom-bench-", dir=arguments.folder) as name:
        folder = Path(name)
        count = arguments.burst * (arguments.turns + 1)
        small, large = (count, 2) if arguments.object == "small" else (4, count)
        work = make_work(folder / "work", -(-small // 4) * 4, -(-large // 2) * 2)
        files = _in_turn(work.small if arguments.object == "small" else work.large)
        with _checked_out(arguments.revision, folder / "other") as other, ExitStack() as stack:
            paths = ":".join(str(other / package) for package in _PACKAGES)
            servers: dict[str, Peer] = {
                arguments.revision: _started(stack, Fileroom, folder / "of-revision", {"PYTHONPATH": paths}),
                "this tree": _started(stack, Fileroom, folder / "of-tree", dict(arguments.set)),
            }
            if Orthanc.is_installed():
                servers[Orthanc.name] = _started(stack, Orthanc, folder / "orthanc", {})
            _compare(servers, files, arguments)


def _compare(servers: dict[str, Peer], files: Sequence[Path], arguments: argparse.Namespace) -> None:
    rates: dict[str, list[float]] = {name: [] for name in servers}
    processor: dict[str, float] = dict.fromkeys(servers, 0.0)
    for turn in range(arguments.turns + 1):
        burst = files[turn * arguments.burst : (turn + 1) * arguments.burst]
        for name in sorted(servers, reverse=bool(turn % 2)):
            before = _processor(servers[name])
            rate = _rate(servers[name], burst, arguments.associations)
            if turn:  # the first is for getting warm
                rates[name].append(rate)
                processor[name] += _processor(servers[name]) - before
    print(f"C-STORE, {arguments.object} objects, {arguments.associations} associations, turns of {arguments.burst}\n")
    print("| | objects/s, median | lowest | highest | ms of processor an object |")
    print("|---|---|---|---|---|")
    for name, found in rates.items():
        each = processor[name] / (arguments.turns * arguments.burst)
        print(f"| {name} | {statistics.median(found):.0f} | {min(found):.0f} | {max(found):.0f} | {each:.2f} |")


def _rate(server: Peer, files: Sequence[Path], associations: int) -> float:
    """Objects a second, over so many associations at a time."""
    command = ["storescu", "-q", "-aec", server.ae_title, "127.0.0.1", str(server.dicom_port), "+sd"]
    environment = {**os.environ, "TCP_NODELAY": "1"}
    with ExitStack() as stack:
        folders = [tasks.links(files[number::associations], stack) for number in range(associations)]
        start = time.perf_counter()
        senders = [subprocess.Popen([*command, str(folder)], env=environment) for folder in folders]
        codes = [sender.wait() for sender in senders]
        seconds = time.perf_counter() - start
    if any(codes):
        raise tasks.Failed(f"storescu ended with {codes}")
    return len(files) / seconds


def _processor(server: Peer) -> float:
    """Milliseconds that its processes have had, system time included."""
    total = 0
    for pid in server.process_ids():
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total * _TICK


def _in_turn(studies: Sequence[Study]) -> list[Path]:
    """The first of each study, then the second: with as many associations as studies, each sends its own."""
    folders = [sorted(study.folder.iterdir()) for study in studies]
    return [path for together in zip(*folders, strict=True) for path in together]


@contextmanager
def _checked_out(revision: str, folder: Path) -> Iterator[Path]:
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(folder), revision], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(folder)], check=True)


def _started(stack: ExitStack, kind: type[Peer], folder: Path, environment: dict[str, str]) -> Peer:
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        server = kind(folder, free_port(), no_delay=True)
    finally:
        os.environ.clear()
        os.environ.update(before)
    stack.callback(server.stop)
    return server


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench-against",
        description=__doc__,
        epilog="Example: make bench-against ARGS='HEAD~1 --associations 4 --set FILEROOM_DICOM__PROCESSES=1'",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("revision", help="what git calls the other revision, with the same dependencies")
    parser.add_argument("--object", choices=("small", "large"), default="small", help="of 39 KB or of 525 KB")
    parser.add_argument("--associations", type=int, default=1)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--burst", type=int, default=200, help="objects a turn")
    parser.add_argument("--folder", type=Path, help="where stores and objects are made")
    parser.add_argument(
        "--set",
        type=lambda text: tuple(text.split("=", 1)),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an environment variable of this tree's server",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
