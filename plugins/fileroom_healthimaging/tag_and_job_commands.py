"""What the commands of tags and of import jobs have in common: what they work with, and working through what is due."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from fileroom_server.plugin import command_actor, with_plugin
from fileroom_storage.plugin import Actor, PluginContext

from .aws import AwsClients
from .dicom_import_jobs import DicomImportJobs
from .plugin_tables import TAG_AND_JOB_TABLES
from .tags import Tags

if TYPE_CHECKING:
    from .tagged_image_sets import TakeIn

Worked = TypeVar("Worked")

_LONGEST_SLEEP = 5.0
_SHORTEST_SLEEP = 0.05


@dataclass(frozen=True)
class TagsAndJobs:
    """The tags and import jobs of an index, and the clients of the service."""

    tags: Tags
    jobs: DicomImportJobs
    actor: Actor
    clients: AwsClients
    take: "TakeIn"


def with_tags_and_jobs(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of every command to one, and gives it `work`, its TagsAndJobs."""

    @with_plugin("healthimaging")
    @wraps(command)
    def with_work(context: PluginContext, **options: Any) -> Any:
        from .wiring import parts

        tags = Tags(context.database, TAG_AND_JOB_TABLES)
        jobs = DicomImportJobs(context.database, TAG_AND_JOB_TABLES)
        with parts(context) as of_it:
            return command(work=TagsAndJobs(tags, jobs, command_actor(), of_it.clients, of_it.intake.take), **options)

    return with_work


def worked_through(
    advance: Callable[[], Worked | None], next_due: Callable[[], datetime | None], *, wait: bool
) -> Iterator[Worked]:
    """What each step comes to, until nothing is due; `wait`: until nothing will be."""
    while True:
        if (worked := advance()) is not None:
            yield worked
            continue
        due_at = next_due() if wait else None
        if due_at is None:
            return
        left = (due_at.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
        time.sleep(min(max(left, _SHORTEST_SLEEP), _LONGEST_SLEEP))


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does: what this process was at is free for others at once."""

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def moment(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}Z"
