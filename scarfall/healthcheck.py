"""`python -m scarfall.healthcheck [PATH]` ends well where this machine's user gateway answers PATH,
or else /healthz, with 200. It is the image's HEALTHCHECK, which keeps what it prints.
"""

from __future__ import annotations

import ssl
import sys
from http import HTTPStatus
from http.client import HTTPConnection, HTTPSConnection

from scarfall import environment

TIMEOUT_SECONDS = 4.0
"""Less than the HEALTHCHECK's own, so that there is a reason to read."""

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to be asked, not listened on


def main(path: str = "/healthz") -> None:
    given = environment.read(environment.load())
    address = (ANYWHERE.get(given["HOST"], given["HOST"]), given["PORT"])
    # Not urllib, which heeds HTTP_PROXY: Docker's configuration may put one into every container.
    connection = HTTPConnection(*address, timeout=TIMEOUT_SECONDS)
    if given["TLS_CERT"] is not None:
        # The certificate is for the name that clients know, and no one else listens here.
        context = ssl._create_unverified_context()  # noqa: S323, SLF001
        connection = HTTPSConnection(*address, timeout=TIMEOUT_SECONDS, context=context)
    # A host that is always served, whatever ALLOWED_HOSTS says.
    connection.request("GET", path, headers={"Host": "localhost"})
    answer = connection.getresponse()
    sys.stdout.write(f"{answer.status} {answer.read().decode()}\n")
    sys.exit(answer.status != HTTPStatus.OK)


if __name__ == "__main__":
    main(*sys.argv[1:])
