"""TLS of the HTTP port."""

import ssl

from fileroom_server.config_http_access import TlsConfiguration
from fileroom_server.tls_files import TlsContext, load_authorities, load_certificate


def http_tls(tls: TlsConfiguration) -> TlsContext | None:
    """What connections are accepted with; None without TLS. Raises TlsUnusable."""
    if not tls.certificate:
        return None
    return TlsContext(lambda: _server_context(tls), [tls.certificate, tls.key, tls.client_ca])


def _server_context(tls: TlsConfiguration) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.options |= ssl.OP_NO_RENEGOTIATION  # which would want to read where it is to write
    load_certificate(context, "http.tls", tls.certificate, tls.key)
    if tls.client_ca:
        load_authorities(context, tls.client_ca, "http.tls.client_ca")
        context.verify_mode = ssl.CERT_REQUIRED
    return context
