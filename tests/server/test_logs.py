"""Logging: two formats, one line a record, and nothing about patients from other libraries."""

import contextvars
import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from fileroom_server.config import LoggingConfiguration
from fileroom_server.correlation import CorrelationId, correlate
from fileroom_server.logs import start_logging

LOG = logging.getLogger("fileroom_server.test_logs")


@pytest.fixture(autouse=True)
def _restored_loggers() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    named = {
        name: logger.level for name, logger in root.manager.loggerDict.items() if isinstance(logger, logging.Logger)
    }
    yield
    root.handlers[:], root.level = handlers, level
    for name, logger in root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger):
            logger.setLevel(named.get(name, logging.NOTSET))


def started(**configuration: str) -> io.StringIO:
    stream = io.StringIO()
    start_logging(LoggingConfiguration.model_validate(configuration), stream)
    return stream


def test_text() -> None:
    stream = started()
    LOG.info("stored %s", "1.2.3")
    LOG.debug("not told")
    line = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 INFO    fileroom_server\.test_logs: stored 1\.2\.3\n"
    assert re.fullmatch(line, stream.getvalue())


def test_a_peer_cannot_forge_lines() -> None:
    stream = started()
    LOG.info("from %s", "A\nB\x1b[2J\udc80é")
    assert stream.getvalue().endswith(": from A\\nB\\x1b[2J\\udc80é\n")
    assert stream.getvalue().count("\n") == 1


def test_json() -> None:
    stream = started(format="json")
    LOG.warning("from %s\n", "Ä\udc80", extra={"association": 7, "level": "forged"})
    try:
        raise KeyError("key")
    except KeyError:
        LOG.exception("failed")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "warning",
        "logger": "fileroom_server.test_logs",
        "message": "from Ä\udc80\n",
        "association": 7,
    }
    assert second["exception"].startswith("Traceback")


@pytest.mark.parametrize(("level", "told"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_levels(level: str, told: int) -> None:
    stream = started(level=level)
    for write in (LOG.debug, LOG.info, LOG.warning, LOG.error):
        write("a line")
    assert stream.getvalue().count("\n") == told


@pytest.mark.parametrize("form", ["text", "json"])
def test_other_libraries_do_not_tell_of_patients(form: str) -> None:
    stream = started(level="debug", format=form)
    for name in ("pydicom", "pynetdicom.acse", "pynetdicom.service_class", "sqlalchemy.engine", "gunicorn.access"):
        logger = logging.getLogger(name)
        logger.debug("Doe^Jane")
        logger.info("Doe^Jane")
        logger.warning("Doe^Jane")
        try:
            raise ValueError("Doe^Jane")
        except ValueError as error:
            logger.exception(error)
    assert "Doe" not in stream.getvalue()
    assert "ValueError in test_logs" in stream.getvalue()


def test_starting_again_replaces() -> None:
    first, second = started(), started()
    LOG.info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


def test_the_identifier_of_what_is_logged_for() -> None:
    text = started()
    contextvars.copy_context().run(_log_correlated)
    LOG.info("for nobody")
    first, second = text.getvalue().splitlines()
    assert first.endswith("INFO    fileroom_server.test_logs [a-request]: stored")
    assert second.endswith("INFO    fileroom_server.test_logs: for nobody")
    lines = started(format="json")
    contextvars.copy_context().run(_log_correlated)
    assert json.loads(lines.getvalue())["correlation_id"] == "a-request"


def _log_correlated() -> None:
    correlate(CorrelationId("a-request"))
    LOG.info("stored")


def test_the_text_of_an_error_cannot_forge_lines() -> None:
    stream = started()
    try:
        raise ValueError("A\n2026-01-01T00:00:00.000+00:00 INFO    fileroom_server: forged\x1b[2J")
    except ValueError:
        LOG.exception("failed")
    first, *others = stream.getvalue().splitlines()
    assert first.endswith("failed")
    assert all(line.startswith("    ") for line in others)
    assert "\x1b" not in stream.getvalue()
