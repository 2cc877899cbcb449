"""The fakes as processes of their own, for the tour of docs/healthimaging.md: `python -m tests.fakes start FOLDER`.

The folder gets a configuration of fileroom, and the environment in which it speaks with the fakes. The image sets are
made of objects that come with pydicom.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

from pydicom.data import get_testdata_file

from tests.fakes.frames import frames_of
from tests.fakes.image_set_documents import image_set_documents
from tests.fakes.medical_imaging import MedicalImaging
from tests.fakes.moto_server import Moto

DATASTORE_ID = "0123456789abcdef" * 2
OBJECTS = ("CT_small.dcm", "MR_small.dcm")
_SECONDS = 60.0

_CONFIGURATION = """\
data = "{folder}/fileroom-data"

[plugins.healthimaging]
endpoint_url = "{url}"
region = "us-east-1"
datastores = ["{datastore}"]
queue_url = "{queue}"
"""


def start(folder: Path) -> None:
    """Starts them in the background, and returns once they answer."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "fakes.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes", "run", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + _SECONDS
    while not (folder / "fakes.pid").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"they did not start; see {folder}/fakes.log")
        time.sleep(0.05)
    sys.stdout.write(f"HealthImaging, S3 and SQS are there; {folder}/environment says where\n")


def stop(folder: Path) -> None:
    (pid,) = (folder / "fakes.pid").read_text().split()
    os.kill(int(pid), signal.SIGTERM)
    deadline = time.monotonic() + _SECONDS
    while (folder / "fakes.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    sys.stdout.write("stopped\n")


def run(folder: Path) -> None:
    ended = Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: ended.set())
    with Moto() as moto, MedicalImaging() as service:
        queue = moto.new_queue()
        service.jobs.s3 = moto.client("s3")
        service.events.deliver_to(moto.client("sqs"), queue)
        service.image_sets.create_datastore("tour", datastore_id=DATASTORE_ID)
        for number, name in enumerate(OBJECTS, 1):
            path = get_testdata_file(name, download=False)
            if not isinstance(path, str):
                sys.exit(f"{name} is not where pydicom keeps it")
            for document, frames in image_set_documents([Path(path).read_bytes()], frames_of):
                service.image_sets.add(DATASTORE_ID, document, frames, image_set_id=f"{number:032x}")
        place = {"folder": folder, "url": service.url, "datastore": DATASTORE_ID, "queue": queue}
        (folder / "fileroom.toml").write_text(_CONFIGURATION.format(**place))
        environment = {**moto.environment, **service.environment, "FILEROOM_CONFIG": str(folder / "fileroom.toml")}
        lines = [f"export {name}={value}\n" for name, value in environment.items()]
        (folder / "environment").write_text("".join(lines))
        pid = folder / "fakes.pid"
        pid.with_suffix(".new").write_text(f"{os.getpid()}\n")
        pid.with_suffix(".new").rename(pid)
        ended.wait()
        pid.unlink()


if __name__ == "__main__":
    commands = {"start": start, "stop": stop, "run": run}
    if len(sys.argv) != 3 or sys.argv[1] not in commands:
        sys.exit("python -m tests.fakes start|stop|run FOLDER")
    commands[sys.argv[1]](Path(sys.argv[2]))
