"""What is measured, each as a rate: objects, requests or retrievals a second."""

import http.client
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.peers import DESTINATION_AE_TITLE, Peer, retire
from benchmarks.work import Study, quarters

_WRK_SECONDS = 5
_FRAMES = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
_WARM_REQUESTS = 11


class Failed(Exception):
    """A peer that could not do the task, and why."""


def store(
    peer: Peer, studies: Sequence[Study], *, associations: int, no_delay: bool, limit: int | None = None
) -> float:
    """Objects a second by `storescu`, over one association after all files, or four at a time."""
    if associations == 1:
        lists = [[path for study in studies for path in sorted(study.folder.iterdir())]]
    else:
        lists = quarters(studies)
    if limit is not None:
        lists = [files[: limit // associations] for files in lists]
    environment = {**os.environ, **({"TCP_NODELAY": "1"} if no_delay else {})}
    command = ["storescu", "-q", "-aec", peer.ae_title, "127.0.0.1", str(peer.dicom_port)]
    with ExitStack() as stack:
        folders = [links(files, stack) for files in lists]
        start = time.perf_counter()
        senders = [subprocess.Popen([*command, "+sd", str(folder)], env=environment) for folder in folders]
        codes = [sender.wait() for sender in senders]
        seconds = time.perf_counter() - start
    if any(codes):
        raise Failed(f"storescu ended with {codes}")
    return sum(map(len, lists)) / seconds


def links(files: Sequence[Path], stack: ExitStack) -> Path:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fileroom-bench-")))
    for number, path in enumerate(files):
        (folder / f"{number:05d}.dcm").symlink_to(path)
    return folder


def find(peer: Peer, keys: Sequence[str], repeat: int, expected: int) -> float:
    """Queries a second by `findscu` over one association."""
    command = ["findscu", "-S", "-aec", peer.ae_title, *(part for key in keys for part in ("-k", key))]
    address = ["127.0.0.1", str(peer.dicom_port)]
    environment = {**os.environ, "TCP_NODELAY": "1"}
    once = subprocess.run([*command, "-v", *address], env=environment, capture_output=True, text=True, check=True)
    answers = len(re.findall(r"Find Response: \d+ \(Pending\)", once.stdout + once.stderr))
    if answers != expected:
        raise Failed(f"{answers} answers instead of {expected}")

    def seconds(times: int) -> float:
        start = time.perf_counter()
        subprocess.run([*command, "-q", "--repeat", str(times), *address], env=environment, check=True)
        return time.perf_counter() - start

    base = seconds(1)  # with the start of the tool and the association
    return (repeat - 1) / max(seconds(repeat) - base, 1e-9)


def http_rate(urls: Sequence[str], accept: str = "application/dicom+json") -> float:
    """Requests a second by `wrk` over four connections, the URLs in turn."""
    parts = urlsplit(urls[0])
    paths = [urlsplit(url).path + ("?" + urlsplit(url).query if urlsplit(url).query else "") for url in urls]
    quoted_accept = accept.replace("'", "\\'")
    script = (
        "local paths = {" + ",".join(f"'{path}'" for path in paths) + "}\nlocal at = 0\n"
        "request = function()\n  at = at % #paths + 1\n"
        f"  return wrk.format('GET', paths[at], {{['Accept']='{quoted_accept}'}})\nend\n"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = ["wrk", "-t", "2", "-c", "4", "-d", f"{_WRK_SECONDS}s", "-s", file.name]
        done = subprocess.run([*command, f"http://{parts.netloc}"], capture_output=True, text=True, check=True)
    if "Non-2xx" in done.stdout:
        raise Failed(done.stdout.strip().splitlines()[-3])
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if found is None:
        raise Failed("wrk printed no rate")
    if float(found[1]) == 0 or "Socket errors" in done.stdout:
        # slower than wrk waits: by one client, one request after the other
        return 1 / statistics.median(_request_seconds(parts.port or 80, paths[0], 3, accept))
    return float(found[1])


def frames(peer: Peer, study: Study) -> float:
    base = f"{peer.dicomweb}/studies/{study.study_instance_uid}/series/{study.series_instance_uid}/instances"
    return http_rate([f"{base}/{uid}/frames/1" for uid in study.sop_instance_uids[:100]], _FRAMES)


def metadata(peer: Peer, study: Study) -> tuple[float, float]:
    """Requests a second of a series' metadata: the first ever, and the median of those after it."""
    path = f"/dicom-web/studies/{study.study_instance_uid}/series/{study.series_instance_uid}/metadata"
    seconds = list(_request_seconds(peer.http_port, path, _WARM_REQUESTS + 1))
    return 1 / seconds[0], 1 / statistics.median(seconds[1:])


def _request_seconds(port: int, path: str, times: int, accept: str = "application/dicom+json") -> Iterator[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for _ in range(times):
        start = time.perf_counter()
        connection.request("GET", path, headers={"Accept": accept, "Accept-Encoding": "gzip"})
        response = connection.getresponse()
        body = response.read()
        yield time.perf_counter() - start
        if response.status != 200 or len(body) < 1000:
            raise Failed(f"{response.status} with {len(body)} bytes")
    connection.close()


def get(peer: Peer, study: Study) -> float:
    """Objects a second by `getscu`, which throws them away."""
    command = ["getscu", "-q", "-S", "--ignore", "-aec", peer.ae_title]
    return _retrieve([*command, *_series_keys(study), "127.0.0.1", str(peer.dicom_port)], study)


def move(peer: Peer, study: Study) -> float:
    """Objects a second by `movescu`, which is the destination too, and throws them away."""
    command = ["movescu", "-q", "-S", "--ignore", "-aec", peer.ae_title, "-aet", DESTINATION_AE_TITLE]
    command += ["-aem", DESTINATION_AE_TITLE, "+P", str(peer.destination_port)]
    return _retrieve([*command, *_series_keys(study), "127.0.0.1", str(peer.dicom_port)], study)


def _series_keys(study: Study) -> list[str]:
    keys = ["0008,0052=SERIES", f"0020,000d={study.study_instance_uid}", f"0020,000e={study.series_instance_uid}"]
    return [part for key in keys for part in ("-k", key)]


def _retrieve(command: list[str], study: Study) -> float:
    start = time.perf_counter()
    done = subprocess.run(
        command, env={**os.environ, "TCP_NODELAY": "1"}, capture_output=True, text=True, check=False, timeout=300
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise Failed(f"{command[0]} ended with {done.returncode}: {done.stderr[-200:]}")
    return len(study.sop_instance_uids) / seconds


def import_files(folder: Path, studies: Sequence[Study]) -> float:
    """Objects a second by `fileroom import` into an empty store, the start of the tool taken off."""
    with tempfile.TemporaryDirectory(prefix="fileroom-bench-") as nothing:
        start = _import_seconds(folder, [Path(nothing)])
    seconds = _import_seconds(folder, [study.folder for study in studies]) - start
    return sum(len(study.sop_instance_uids) for study in studies) / max(seconds, 1e-9)


def _import_seconds(data: Path, folders: Sequence[Path]) -> float:
    command = [str(Path(sys.executable).with_name("fileroom")), "import", "--data", str(data)]
    start = time.perf_counter()
    done = subprocess.run([*command, *map(str, folders)], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if data.exists():
        retire(data)
    if done.returncode:
        raise Failed(done.stderr[-300:])
    return seconds
