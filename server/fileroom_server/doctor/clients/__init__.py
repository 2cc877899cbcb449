"""The requests that viewers really send: one table for each client, one declaration for each request."""

from ..exchange import Ask
from .any_client import REQUESTS as ANY_CLIENT
from .cornerstone import REQUESTS as CORNERSTONE
from .dicomweb_client import REQUESTS as DICOMWEB_CLIENT
from .ohif import REQUESTS as OHIF
from .weasis import REQUESTS as WEASIS

REQUESTS: tuple[Ask, ...] = (*OHIF, *CORNERSTONE, *WEASIS, *DICOMWEB_CLIENT, *ANY_CLIENT)
