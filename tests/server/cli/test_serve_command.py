"""`fileroom serve`: how it starts, what it survives, and how it ends."""

import itertools
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from tests.databases import Databases
from tests.made import part10, uid
from tests.served import FILEROOM, Served
from tests.server.cli.commands import begun, environment, fileroom, instances, write_files
from tests.server.cli.senders import is_running, processes_below, send, sending, wait_until


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def served(data: Path) -> Iterator[Served]:
    with Served(data) as served:
        yield served


@pytest.fixture
def doomed(data: Path) -> Iterator[Served]:
    """A server that does not end as it should."""
    served = Served(data)
    try:
        yield served.wait_until_ready()
    finally:
        served.close()


def receivers(served: Served) -> list[int]:
    return [pid for pid, name in processes_below(served.process.pid).items() if name == "fileroom-dicom"]


def receiver(served: Served) -> int:
    return receivers(served)[0]


def readiness(served: Served) -> tuple[int, dict[str, str]]:
    answer = requests.get(f"{served.url}/health/ready", timeout=30)
    return answer.status_code, answer.json()["parts"]


def echo(port: int) -> bool:
    return subprocess.run(["echoscu", "-aec", "FILEROOM", "127.0.0.1", str(port)], capture_output=True).returncode == 0


def found(served: Served, study: int = 1) -> set[str]:
    answer = requests.get(f"{served.dicomweb}/studies/{uid(study)}/instances", timeout=30)
    return {instance["00080018"]["Value"][0] for instance in answer.json()}


class TestStart:
    def test_what_it_says_works(self, data: Path, tmp_path: Path) -> None:
        """Each of the three commands to try, on ports that were not chosen before."""
        write_files(tmp_path / "ct", 3)
        log = tmp_path / "log"
        with log.open("wb") as output:
            command = [FILEROOM, "serve", "--data", str(data), "--dicom-port", "0", "--http-port", "0"]
            server = subprocess.Popen(command, stdout=output, stderr=output, env=environment())
        try:
            wait_until(lambda: "Ctrl-C stops it." in log.read_text())
            text = log.read_text()
            assert re.search(r"DICOM +FILEROOM at 127\.0\.0\.1:[1-9]", text)
            commands = re.search(r"Try next:\n\n((?:  .+\n)+)", text)
            assert commands is not None
            for line in commands[1].splitlines():
                words = [word.replace("FOLDER", str(tmp_path / "ct")) for word in shlex.split(line)]
                tried = subprocess.run(words, capture_output=True, text=True, env=environment())
                assert tried.returncode == 0, tried.stderr
            assert uid(1) in tried.stdout  # the last was the search for studies
        finally:
            server.terminate()
            assert server.wait(60) == 0

    def test_health(self, served: Served) -> None:
        assert requests.get(f"{served.url}/health/live", timeout=30).status_code == 200
        assert readiness(served) == (200, {"storage": "ready", "dicom": "ready"})
        assert echo(served.dicom_port)

    @pytest.mark.parametrize("service", ["DICOM", "HTTP"])
    def test_a_port_in_use(self, data: Path, service: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = str(other.getsockname()[1])
            ports = {"--dicom-port": "0", "--http-port": "0", f"--{service.lower()}-port": port}
            arguments = [word for pair in ports.items() for word in pair]
            finished = fileroom("serve", "--data", data, *arguments)
        assert finished.returncode == 1
        assert finished.stderr == (
            f"Error: {service} cannot listen on 127.0.0.1:{port}: the port is in use; stop what uses it, or choose "
            f"another with --{service.lower()}-port\n"
        )
        assert finished.stdout == ""

    def test_both_ports_in_use(self, data: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as dicom, socket.create_server(("127.0.0.1", 0)) as http:
            ports = {"--dicom-port": dicom.getsockname()[1], "--http-port": http.getsockname()[1]}
            finished = fileroom("serve", "--data", data, *[str(word) for pair in ports.items() for word in pair])
        assert finished.returncode == 1
        assert [line.partition(" cannot listen on ")[0] for line in finished.stderr.splitlines()] == [
            "Error: DICOM",
            "HTTP",
        ]

    def test_what_it_says_works_where_only_peers_may_call(self, data: Path, tmp_path: Path, free_port: int) -> None:
        configuration = tmp_path / "fileroom.toml"
        configuration.write_text(
            '[dicom]\ncalling_ae_titles = "peers"\n[[peers]]\nae_title = "THE CT"\nhost = "127.0.0.1"\nport = 104\n'
        )
        with Served(data, None, "--config", str(configuration)) as served:
            wait_until(lambda: "Ctrl-C stops it." in served.output)
            command = re.search(r"^  (echoscu .*)$", served.output, re.MULTILINE)
            assert command is not None
            assert "-aet 'THE CT'" in command[1]
            assert subprocess.run(shlex.split(command[1]), capture_output=True).returncode == 0
            assert not echo(served.dicom_port)
            wait_until(lambda: "rejected" in served.output)
            assert "ECHOSCU" in served.output

    def test_an_outdated_index(self, data: Path) -> None:
        assert fileroom("db", "upgrade", "--data", data).returncode == 0
        with sqlite3.connect(data / "index.sqlite") as index:
            index.execute("DELETE FROM alembic_version")
        finished = fileroom("serve", "--data", data, "--dicom-port", "0", "--http-port", "0")
        assert finished.returncode == 1
        assert "run `fileroom db upgrade`" in finished.stderr

    def test_a_database_that_is_away(self, data: Path, free_port: int) -> None:
        database = f"mariadb://nobody:secret@127.0.0.1:{free_port}/nothing"
        finished = fileroom("serve", "--data", data, "--database", database, "--dicom-port", "0", "--http-port", "0")
        assert finished.returncode == 1
        assert finished.stderr.startswith("Error: the index cannot be reached")
        assert "secret" not in finished.stderr


class TestReadiness:
    def test_a_receiver_that_hangs(self, served: Served) -> None:
        pid = receiver(served)
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: readiness(served)[0] == 503)
            assert "DICOM receiver" in readiness(served)[1]["dicom"]
            assert requests.get(f"{served.url}/health/live", timeout=30).status_code == 200
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: readiness(served)[0] == 200)

    def test_a_receiver_that_dies_is_replaced(self, served: Served) -> None:
        first = receiver(served)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: "started again" in served.output)
        assert "DICOM receiver was ended by SIGKILL" in served.output
        wait_until(lambda: readiness(served)[0] == 200)
        assert receiver(served) != first
        assert echo(served.dicom_port)

    def test_an_http_server_that_dies_is_replaced(self, served: Served) -> None:
        below = processes_below(served.process.pid)
        first = next(pid for pid, name in below.items() if name == "fileroom-http")
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: "HTTP server was ended by SIGKILL" in served.output)
        wait_until(lambda: not any(is_running(pid) for pid, name in below.items() if name == "fileroom-http"))
        wait_until(lambda: readiness(served)[0] == 200)

    def test_databases_that_go_away(self, databases: Databases, tmp_path: Path) -> None:
        """Both at once, for each waits a while first."""
        with ExitStack() as stack, ThreadPoolExecutor() as threads:
            servers = []
            for kind in ("mariadb", "postgresql"):
                with databases.fresh(kind, tmp_path) as url:
                    servers.append(Served(tmp_path / kind, url))
                    stack.callback(servers[-1].close)
                    servers[-1].wait_until_ready()
            for status, parts in threads.map(readiness, servers):
                assert status == 503
                assert "cannot be reached" in parts["storage"]
            assert list(threads.map(Served.stop, servers)) == [0, 0]

    def test_an_object_store_that_goes_away(self, data: Path, served: Served) -> None:
        names = (data / f"elsewhere{number}" for number in itertools.count())

        def is_away() -> bool:
            # a worker that is still starting makes the folder anew
            if (data / "incoming").exists():
                (data / "incoming").rename(next(names))
            status, parts = readiness(served)
            return status == 503 and "object store" in parts["storage"]

        wait_until(is_away)
        (data / "elsewhere0").rename(data / "incoming")
        assert readiness(served)[0] == 200


class TestStop:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_running_association_finishes(self, data: Path, number: signal.Signals) -> None:
        objects = list(instances(6))
        with Served(data) as served:
            with sending(served.dicom_port) as association:
                statuses = [send(association, objects[0])]
                served.process.send_signal(number)
                wait_until(lambda: not echo(served.dicom_port))  # it takes no new ones
                for dataset in objects[1:]:
                    time.sleep(0.2)
                    statuses.append(send(association, dataset))
            assert statuses == [0x0000] * 6
            assert served.process.wait(30) == 0
        with Served(data) as again:
            assert found(again) == {dataset.SOPInstanceUID for dataset in objects}

    def test_what_was_acknowledged_survives_an_end_in_haste(self, data: Path) -> None:
        """The association goes on for longer than it is given."""
        acknowledged = set()
        with Served(data, None, FILEROOM_DRAIN_TIMEOUT="1") as served:
            with sending(served.dicom_port) as association:
                for number, dataset in enumerate(instances(10_000)):
                    if number == 20:
                        served.process.send_signal(signal.SIGTERM)
                    if send(association, dataset) != 0x0000:
                        break
                    acknowledged.add(dataset.SOPInstanceUID)
                    time.sleep(0.01)
            assert served.process.wait(30) == 0
        assert len(acknowledged) >= 20
        with Served(data) as again:
            assert found(again) >= acknowledged

    def test_a_running_request_finishes(self, served: Served, data: Path) -> None:
        begun_upload, go_on = threading.Event(), threading.Event()

        def body() -> Iterator[bytes]:
            content = part10(next(instances(1)))
            yield b"--b\r\nContent-Type: application/dicom\r\n\r\n" + content[:100]
            begun_upload.set()
            go_on.wait(30)
            yield content[100:] + b"\r\n--b--\r\n"

        answers: list[requests.Response] = []

        def upload() -> None:
            headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
            answers.append(requests.post(f"{served.dicomweb}/studies", data=body(), headers=headers, timeout=60))

        thread = threading.Thread(target=upload)
        thread.start()
        begun_upload.wait(30)
        time.sleep(0.5)
        served.process.send_signal(signal.SIGTERM)

        def refuses() -> bool:
            try:
                socket.create_connection(("127.0.0.1", served.http_port), 5).close()
            except ConnectionRefusedError:
                return True
            return False

        wait_until(refuses)
        go_on.set()
        thread.join(60)
        assert [answer.status_code for answer in answers] == [200]
        assert served.process.wait(30) == 0

    def test_a_request_that_does_not_finish_is_given_up(self, data: Path) -> None:
        with (
            Served(data, None, FILEROOM_DRAIN_TIMEOUT="1") as served,
            socket.create_connection(("127.0.0.1", served.http_port)) as connection,
        ):
            connection.sendall(b"POST /dicom-web/studies HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n--b")
            time.sleep(0.5)
            served.process.terminate()
            assert served.process.wait(20) == 0

    def test_a_second_signal_ends_it_at_once(self, doomed: Served) -> None:
        below = processes_below(doomed.process.pid)
        with sending(doomed.dicom_port) as association:
            assert send(association, next(instances(1))) == 0x0000
            doomed.process.terminate()
            time.sleep(1)
            assert doomed.process.poll() is None
            doomed.process.terminate()
            assert doomed.process.wait(10) == 128 + signal.SIGTERM
        wait_until(lambda: not any(map(is_running, below)), 5)

    def test_its_processes_end_with_it(self, doomed: Served) -> None:
        # two receivers, gunicorn's master and two workers
        wait_until(lambda: len(processes_below(doomed.process.pid)) == 5)
        below = processes_below(doomed.process.pid)
        doomed.process.kill()
        doomed.process.wait()
        wait_until(lambda: not any(map(is_running, below)), 10)


def test_a_crash_while_receiving_loses_nothing_acknowledged(data: Path) -> None:
    acknowledged = set()
    with Served(data) as served:
        with sending(served.dicom_port) as association:
            for number, dataset in enumerate(instances(1000)):
                if number == 30:
                    for pid in receivers(served):
                        os.kill(pid, signal.SIGKILL)
                if send(association, dataset) != 0x0000:
                    break
                acknowledged.add(dataset.SOPInstanceUID)
        assert len(acknowledged) >= 30
        wait_until(lambda: readiness(served)[0] == 200)
        assert found(served) >= acknowledged


def test_no_names_in_the_log(data: Path) -> None:
    with Served(data, None, FILEROOM_LOGGING__LEVEL="debug") as served:
        requests.get(f"{served.dicomweb}/studies?PatientName=Geheimrat*&bad[=x", timeout=30)
        with socket.create_connection(("127.0.0.1", served.http_port)) as connection:
            connection.sendall(b"GET /dicom-web/studies?PatientName=Geheimrat BAD\r\n\r\n")
            connection.recv(1000)
        with sending(served.dicom_port) as association:
            dataset = next(instances(1))
            dataset.PatientName = "Geheimrat^Anna"
            assert send(association, dataset) == 0x0000
    assert "Geheimrat" not in served.output


def test_nothing_is_left_running_by_ctrl_c_in_a_terminal(data: Path) -> None:
    """The terminal sends SIGINT to the whole process group."""
    command = begun("serve", "--data", data, "--dicom-port", "0", "--http-port", "0")
    assert command.stdout is not None
    for line in command.stdout:
        if "Ctrl-C" in line:
            break
    below = processes_below(command.pid)
    os.killpg(command.pid, signal.SIGINT)
    assert command.wait(30) == 0
    assert not any(map(is_running, below))
    command.communicate()
