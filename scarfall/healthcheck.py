"""`python -m scarfall.healthcheck [PATH]` ends well where this machine's user gateway answers PATH,
or else /healthz, with 200. It is the image's HEALTHCHECK, which keeps what it prints.
"""

from __future__ import annotations

import sys
from http import HTTPStatus
from http.client import HTTPConnection

from scarfall import environment

TIMEOUT_SECONDS = 4.0
"""Less than the HEALTHCHECK's own, so that there is a reason to read."""


def main(path: str = "/healthz") -> None:
    port = environment.read(environment.load())["PORT"]
    # Not urllib, which heeds HTTP_PROXY: Docker's configuration may put one into every container.
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    connection.request("GET", path)
    answer = connection.getresponse()
    sys.stdout.write(f"{answer.status} {answer.read().decode()}\n")
    sys.exit(answer.status != HTTPStatus.OK)


if __name__ == "__main__":
    main(*sys.argv[1:])
