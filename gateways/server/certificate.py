"""TLS_CERT and TLS_KEY, read at the start and at each SIGHUP."""

import ssl

from django.conf import settings


def read_certificate(context: ssl.SSLContext) -> None:
    """Handshakes from now on show it; connections that stand go on as they are.

    Raises OSError, of which ssl.SSLError is one, where the files are no certificate and its key:
    the last ones stay.
    """
    assert settings.TLS_CERT is not None
    newest = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # An encrypted key is refused: nobody is there to type its password.
    newest.load_cert_chain(settings.TLS_CERT, settings.TLS_KEY, password="")

    def show(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = newest

    # Not into the context itself, which keeps a certificate for each kind of key: an older one of
    # another kind would go on being shown.
    context.sni_callback = show
