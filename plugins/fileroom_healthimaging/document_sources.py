"""Documents from files, folders and S3: each read whole, but no more than a document may have."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fileroom_storage.plugin import StorageError

from .aws import AwsClients
from .aws_errors import AwsUnavailable, translated
from .json_text import MAXIMUM_SIZE

_SUFFIXES = (".json", ".json.gz", ".gz")
_ATTEMPTS_AT_A_BODY = 3
_PAUSE = 0.2  # seconds
_TOO_LARGE = f"it has more than {MAXIMUM_SIZE >> 20} MiB"


@dataclass(frozen=True, slots=True)
class FoundDocument:
    """`problem` says why there is no content; `is_passing` that there may be some later."""

    where: str
    content: bytes = b""
    problem: str = ""
    is_passing: bool = False


def documents_of_path(path: Path) -> Iterator[FoundDocument]:
    """A file, whatever its name; of a folder all files below it that are named .json, .json.gz or .gz."""
    if not path.is_dir():
        yield _of_file(path)
        return
    unreadable: list[OSError] = []
    for folder, folders, files in os.walk(path, onerror=unreadable.append):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(_SUFFIXES):
                yield _of_file(Path(folder, name))
    for error in unreadable:
        yield FoundDocument(str(error.filename), problem=error.strerror or type(error).__name__)


def _of_file(path: Path) -> FoundDocument:
    where = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM_SIZE + 1)
    except OSError as error:
        return FoundDocument(where, problem=error.strerror or type(error).__name__)
    return FoundDocument(where, problem=_TOO_LARGE) if len(content) > MAXIMUM_SIZE else FoundDocument(where, content)


class S3Documents:
    """Raises AwsError where a list cannot be had, Boto3Missing."""

    def __init__(self, clients: AwsClients, concurrent: int) -> None:
        self._clients = clients
        self._concurrent = concurrent

    def documents(self, url: str) -> Iterator[FoundDocument]:
        """Of `s3://bucket/prefix`: the object of this key, and those below it that are named like documents."""
        bucket, _, key = url.removeprefix("s3://").partition("/")
        waiting: deque[Future[FoundDocument]] = deque()
        with ThreadPoolExecutor(self._concurrent, thread_name_prefix="healthimaging-s3") as pool:
            try:
                for found, size in self._keys(bucket, key):
                    waiting.append(pool.submit(self._get, bucket, found, size))
                    if len(waiting) >= self._concurrent:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _keys(self, bucket: str, prefix: str) -> Iterator[tuple[str, int]]:
        token: dict[str, str] = {}
        while True:
            with translated(f"the list of s3://{bucket}/{prefix}"):
                answer = self._clients.s3.list_objects_v2(Bucket=bucket, Prefix=prefix, **token)
            for one in answer.get("Contents", ()):
                if one["Key"] == prefix or one["Key"].lower().endswith(_SUFFIXES):
                    yield one["Key"], one["Size"]
            if not answer.get("IsTruncated"):
                return
            token = {"ContinuationToken": answer["NextContinuationToken"]}

    def _get(self, bucket: str, key: str, size: int) -> FoundDocument:
        where = f"s3://{bucket}/{key}"
        if size > MAXIMUM_SIZE:
            return FoundDocument(where, problem=_TOO_LARGE)

        def read() -> bytes:
            # what is there may have grown since it was listed
            body: Any = self._clients.s3.get_object(Bucket=bucket, Key=key)["Body"]
            try:
                content: bytes = body.read(MAXIMUM_SIZE + 1)
                return content
            finally:
                body.close()

        try:
            content = _repeated(where, read)
        except AwsUnavailable as error:
            return FoundDocument(where, problem=str(error), is_passing=True)
        except StorageError as error:
            return FoundDocument(where, problem=str(error))
        if len(content) > MAXIMUM_SIZE:
            return FoundDocument(where, problem=_TOO_LARGE)
        return FoundDocument(where, content)


def _repeated(what: str, read: Callable[[], bytes]) -> bytes:
    """A body that breaks off is asked for again: botocore tries again only until the body begins."""
    for attempt in range(_ATTEMPTS_AT_A_BODY):
        try:
            with translated(what):
                return read()
        except AwsUnavailable:
            if attempt + 1 == _ATTEMPTS_AT_A_BODY:
                raise
            time.sleep(_PAUSE * 2**attempt)
    raise AssertionError  # the last attempt has returned or raised
