"""Ask the fileroom of this container whether it is ready; exits with 1 and the reason when it is not."""

import socket
import ssl
import sys
from urllib.error import URLError
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

from fileroom_server.config_sources import load_configuration

TIMEOUT_SECONDS = 8


def main() -> int:
    http = load_configuration().configuration.http
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)  # noqa: S104 - nothing is bound here
    address = f"[{host}]" if ":" in host else host
    # The certificate is for another name than that of this container's own address.
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    # Without the proxy that the environment may name: it does not lead to this container.
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=trusting))
    try:
        if http.tls.client_ca:  # no certificate here is one of a client
            socket.create_connection((host, http.port), TIMEOUT_SECONDS).close()
            return 0
        with opener.open(f"{http.scheme}://{address}:{http.port}/health/ready", timeout=TIMEOUT_SECONDS):
            return 0
    except (URLError, OSError) as error:
        sys.stderr.write(f"not ready: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
