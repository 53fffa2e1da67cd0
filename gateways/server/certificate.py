"""TLS_CERT and TLS_KEY, read at the start and at each SIGHUP."""

import ssl

from django.conf import settings


def read_certificate(context: ssl.SSLContext) -> None:
    """Handshakes from now on show it; connections that stand go on as they are.

    Raises OSError, of which ssl.SSLError is one, where the files are no certificate and its key:
    the last ones stay.
    """
    certificate, key = settings.TLS_CERT, settings.TLS_KEY
    assert certificate is not None
    # Another one is asked first, so that no half of a new pair stays behind.
    for asked in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
        # An encrypted key is refused: nobody is there to type its password.
        asked.load_cert_chain(certificate, key, password="")
