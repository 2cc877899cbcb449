"""Ask the fileroom of this container whether it is ready; exits with 1 and the reason when it is not."""

import sys
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from fileroom_server.config_sources import load_configuration

TIMEOUT_SECONDS = 8


def main() -> int:
    http = load_configuration().configuration.http
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(http.host, http.host)  # noqa: S104 - nothing is bound here
    try:
        # Without the proxy that the environment may name: it does not lead to this container.
        with build_opener(ProxyHandler({})).open(f"http://{host}:{http.port}/health/ready", timeout=TIMEOUT_SECONDS):
            return 0
    except (URLError, OSError) as error:
        sys.stderr.write(f"not ready: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
