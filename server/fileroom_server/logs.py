"""Logging: text lines or JSON lines on standard error, and nothing of what other libraries say about patients."""

import json
import logging
import sys
import warnings
from datetime import UTC, datetime
from typing import TextIO

from fileroom_server.config import LoggingConfiguration
from fileroom_server.correlation import WithCorrelation
from fileroom_server.plugins import plugin_packages

# These quote values of data sets and identifiers in what they log, and a request line holds the names searched for.
_TALKATIVE = {
    "pydicom": logging.CRITICAL,
    "pynetdicom": logging.ERROR,
    "sqlalchemy": logging.ERROR,
    "gunicorn.access": logging.CRITICAL,
    "werkzeug": logging.ERROR,
    "opentelemetry": logging.ERROR,  # a collector that is away is told of once a batch
}
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class WithoutForeignDetails(logging.Filter):
    """Replaces what a foreign library says with an exception by the exception's type: its text may quote a value."""

    def filter(self, record: logging.LogRecord) -> bool:
        foreign = record.name.partition(".")[0] in {"pydicom", "pynetdicom", "sqlalchemy"}
        if foreign and record.exc_info and record.exc_info[0]:
            record.msg = f"{record.exc_info[0].__name__} in {record.module}.{record.funcName}, line {record.lineno}"
            record.args = ()
            record.exc_info = record.exc_text = None
        return True


class TextFormatter(logging.Formatter):
    """One line a record; a peer cannot forge lines, because control characters are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        identifier = getattr(record, "correlation_id", None)
        place = f"{record.name} [{identifier}]" if identifier else record.name
        line = f"{_time(record)} {record.levelname:<7} {place}: {_in_one_line(message)}"
        if record.exc_info:
            # the text of an error may be anybody's: none of its lines looks like a record
            text = self.formatException(record.exc_info)
            line += "".join(f"\n    {_in_one_line(part)}" for part in text.split("\n"))
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, exception, and what the caller passed as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name}
        fields["message"] = record.getMessage()
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS}
        return json.dumps({**extra, **fields}, default=str)


def start_logging(configuration: LoggingConfiguration, stream: TextIO | None = None) -> None:
    """Send the records of this process to `stream`, by default standard error; replaces what was set before."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if configuration.format == "json" else TextFormatter())
    handler.addFilter(WithCorrelation())
    handler.addFilter(WithoutForeignDetails())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    level = logging.getLevelNamesMapping()[configuration.level.upper()]
    for name in ("fileroom_storage", "fileroom_dicomweb", "fileroom_server", *plugin_packages()):
        logging.getLogger(name).setLevel(level)
    for name, least in _TALKATIVE.items():
        logging.getLogger(name).setLevel(least)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # pydicom's quote the value that they are about


def _in_one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
