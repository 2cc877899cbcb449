"""THE table of metrics: each is declared here, once; docs/monitoring.md explains them, and a test holds both together.

Names and units are those of Prometheus' conventions. No label has a value that comes from a peer or a client.
"""

from http import HTTPStatus

from fileroom_server.metrics.metric import DECLARED, OTHER, Counter, Gauge, Histogram
from fileroom_server.status import CODES, InvalidRequest, MoveDestinationUnknown, Service, SopClassNotSupported
from fileroom_storage import errors
from fileroom_storage.attributes import Level
from fileroom_storage.errors import StorageError, UnusableReason
from fileroom_storage.monitor import Stage, StoredAs

# Provenance.source of storage
SOURCES = ("C-STORE", "STOW-RS", "import", "reject", "recovery", OTHER)
# besides StoredAs: objects that were not taken, for good, for now, and for no reason that anybody knows
REFUSED, UNAVAILABLE, FAILED = "refused", "unavailable", "failed"

TLS_FAILED = "TLS handshake"
REJECTIONS = (
    TLS_FAILED,
    "malformed proposal",
    "calling AE title",
    "called AE title",
    "too many associations",
    "too many connections",
    OTHER,
)

# the endpoints of fileroom_dicomweb, those of DICOMweb itself without their blueprint's name
OPERATIONS = (
    "search_for_studies",
    "search_for_series",
    "search_for_instances",
    "retrieve",
    "metadata",
    "frames",
    "all_bulk_data",
    "bulk_data",
    "rendered",
    "thumbnail",
    "store",
    "store_to_study",
    "delete",
    "reject",
    "deletions",
    "deletion",
    "restore",
    "capabilities_page",
    "openapi_document",
    "wado_uri.retrieve",
    "viewer.file_or_route",
    "viewer.mode_at_the_root",
    "viewer.without_slash",
    "health.live",
    "health.ready",
    "metrics.metrics",
    "start",
    "about",
    OTHER,
)

_SERVICES = (*Service, "C-ECHO", OTHER)
# a request whose peer went away, or that pynetdicom answered
UNANSWERED = "unanswered"
_STATUSES = (*(f"0x{code:04X}" for code in sorted(CODES)), UNANSWERED, OTHER)
_HTTP_STATUSES = (*(str(status.value) for status in HTTPStatus if status >= HTTPStatus.OK), OTHER)

ERRORS = (
    *(kind.__name__ for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, StorageError)),
    *(kind.__name__ for kind in (InvalidRequest, SopClassNotSupported, MoveDestinationUnknown)),
    *("NoSuchSopClass", "NoSuchSopInstance", "NoSuchAction", "InvalidArgumentValue"),
    *("LimitRequestLine", "LimitRequestHeaders", "InvalidRequestLine", "InvalidRequestMethod", "InvalidHTTPVersion"),
    *("InvalidHeader", "InvalidHeaderName", "ExpectationFailed", "UnsupportedTransferCoding"),
    "Problem",
    *("BadRequest", "Unauthorized", "Forbidden", "NotFound", "MethodNotAllowed", "RequestTimeout"),
    *("RequestEntityTooLarge", "UnsupportedMediaType", "TooManyRequests", "ServiceUnavailable"),
    *("AssertionError", "AttributeError", "ConnectionError", "IndexError", "KeyError", "MemoryError"),
    *("NotImplementedError", "OSError", "OverflowError", "RecursionError", "RuntimeError", "TimeoutError"),
    *("TypeError", "UnicodeDecodeError", "UnicodeEncodeError", "ValueError"),
    *("DataError", "DatabaseError", "IntegrityError", "InterfaceError", "InternalError", "OperationalError"),
    OTHER,
)

_STAGE_SECONDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
ANSWER_SECONDS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_OBJECTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)

# -- associations and DIMSE --------------------------------------------------------------------------------

ASSOCIATIONS_ACCEPTED = Counter("fileroom_associations_accepted_total", "Associations that were accepted.")
ASSOCIATIONS_REJECTED = Counter(
    "fileroom_associations_rejected_total", "Associations that were rejected, by reason.", reason=REJECTIONS
)
ASSOCIATIONS_ENDED = Counter(
    "fileroom_associations_ended_total", "Accepted associations that have ended.", how=("released", "aborted")
)
DIMSE_REQUESTS = Counter(
    "fileroom_dimse_requests_total",
    "DIMSE requests that were answered, by the last status of their responses.",
    sparse=True,
    service=_SERVICES,
    status=_STATUSES,
)
DIMSE_SECONDS = Histogram(
    "fileroom_dimse_request_duration_seconds",
    "From the beginning of a DIMSE request to its last response.",
    ANSWER_SECONDS,
    service=_SERVICES,
)
DIMSE_BYTES = Counter(
    "fileroom_dimse_bytes_total",
    "Bytes that went over accepted associations, received and sent.",
    direction=("received", "sent"),
)

# -- objects on their way in -------------------------------------------------------------------------------

STORES = Counter(
    "fileroom_stores_total",
    "Objects that came, by what became of them.",
    source=SOURCES,
    outcome=(*StoredAs, REFUSED, UNAVAILABLE, FAILED),
)
STORED_BYTES = Counter("fileroom_stored_bytes_total", "Bytes of the objects that were taken.", source=SOURCES)
REFUSALS = Counter(
    "fileroom_refusals_total",
    "Objects that cannot be kept, by what is wrong with them.",
    sparse=True,
    source=SOURCES,
    reason=(*UnusableReason, OTHER),
)
PLUGIN_FAILURES = Counter(
    "fileroom_plugin_failures_total", "Objects that were stored, and that a plugin has no rows of."
)
STAGE_SECONDS = Histogram(
    "fileroom_store_stage_duration_seconds",
    "How long each stage of storing took, for each object.",
    _STAGE_SECONDS,
    sparse=True,
    source=SOURCES,
    stage=tuple(Stage),
)
QUEUE = Gauge("fileroom_index_queue_length", "Objects that are on the disk and wait for the index.")
COMMIT_SECONDS = Histogram(
    "fileroom_index_commit_duration_seconds", "How long a group commit of the index took.", _STAGE_SECONDS
)
COMMIT_OBJECTS = Histogram("fileroom_index_commit_objects", "How many objects a group commit took in.", _OBJECTS)

# -- queries and retrieval ---------------------------------------------------------------------------------

QUERY_SECONDS = Histogram(
    "fileroom_query_duration_seconds",
    "From a query to its last answer, kept answers included.",
    ANSWER_SECONDS,
    service=("C-FIND", "QIDO-RS"),
    level=tuple(level.name for level in Level),
)
SEARCH_SECONDS = Histogram(
    "fileroom_index_search_duration_seconds",
    "How long a search of the index took, until its last answer was taken.",
    ANSWER_SECONDS,
    level=tuple(level.name for level in Level),
)
KEPT_ANSWERS = Counter(
    "fileroom_kept_answers_total",
    "Whether an answer was among those that are kept.",
    kept=("c_find", "requests", "responses", "metadata"),
    result=("hit", "miss"),
)
RETRIEVED_INSTANCES = Counter(
    "fileroom_retrieved_instances_total",
    "C-STORE sub-operations of C-MOVE and C-GET, by outcome.",
    service=("C-MOVE", "C-GET"),
    outcome=("completed", "warning", "failed"),
)
RETRIEVED_BYTES = Counter(
    "fileroom_retrieved_bytes_total",
    "Bytes of objects that were sent, or of answers of WADO-RS and WADO-URI.",
    service=("C-MOVE", "C-GET", "WADO-RS", "WADO-URI"),
)
RENDERING_SECONDS = Histogram(
    "fileroom_rendering_duration_seconds", "How long a picture or document of an object took to make.", ANSWER_SECONDS
)

# -- HTTP --------------------------------------------------------------------------------------------------

HTTP_REQUESTS = Counter(
    "fileroom_http_requests_total",
    "HTTP requests that were answered.",
    sparse=True,
    operation=OPERATIONS,
    status=_HTTP_STATUSES,
)
HTTP_SECONDS = Histogram(
    "fileroom_http_request_duration_seconds",
    "From the head of an HTTP request to the last byte of its answer.",
    ANSWER_SECONDS,
    sparse=True,
    operation=OPERATIONS,
)
HTTP_BYTES = Counter(
    "fileroom_http_bytes_total",
    "Bytes of the bodies of HTTP requests and answers.",
    direction=("received", "sent"),
)

# -- errors ------------------------------------------------------------------------------------------------

ERRORS_BY_KIND = Counter(
    "fileroom_errors_total",
    "Requests and objects that an error was the answer to, by the kind of error.",
    sparse=True,
    service=(*Service, "STOW-RS", "import", "HTTP"),
    kind=dict.fromkeys(ERRORS),
)

METRICS = tuple(DECLARED)
