"""Attempts to authenticate, counted by what came of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from gateways import metrics
from gateways.protocol.errors import AuthenticationFailed, GatewayError, Unavailable
from gateways.store.errors import StoreUnavailable


@contextmanager
def counted_authentication() -> Iterator[None]:
    try:
        yield
    except (AuthenticationFailed, GatewayError) as error:
        metrics.authentications.add(error.code)
        raise
    except StoreUnavailable:
        metrics.authentications.add(Unavailable.code)
        raise
    else:
        metrics.authentications.add("ok")
