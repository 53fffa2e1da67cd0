"""The document has what the consumers' tables have, and what their handlers' annotations say."""

import inspect
from typing import get_type_hints

import pytest

from gateways.consumers.base import GatewayConsumer, Handler
from gateways.consumers.description import gateways, reply_of
from gateways.consumers.internal import InternalConsumer
from gateways.consumers.user import UserConsumer
from gateways.protocol import catalogue
from gateways.protocol.events import Nothing, Payload, Pong, Receipt
from gateways.protocol.internal_events import ServicePong

CONSUMERS: tuple[type[GatewayConsumer], ...] = (UserConsumer, InternalConsumer)
HANDLERS = [
    pytest.param(handler, id=f"{consumer.__name__}-{event}")
    for consumer in CONSUMERS
    for event, handler in consumer.handlers.items()
]


@pytest.mark.parametrize("handler", HANDLERS)
def test_every_handler_says_what_it_takes_and_replies(handler: Handler) -> None:
    assert issubclass(reply_of(handler), Payload)
    assert reply_of(handler) is not Payload
    takes = list(inspect.signature(handler.serve).parameters)[1]
    assert get_type_hints(handler.serve)[takes] is handler.struct


def test_a_reply_is_found_behind_an_awaitable() -> None:
    assert reply_of(UserConsumer.handlers["send_message"]) is Receipt
    assert reply_of(UserConsumer.handlers["ping"]) is Pong
    assert reply_of(InternalConsumer.handlers["ping"]) is ServicePong


def test_all_that_the_tables_have_is_described() -> None:
    user, internal = gateways(port=1, internal_port=2)
    for described, consumer in ((user, UserConsumer), (internal, InternalConsumer)):
        assert list(described.exchanges) == list(consumer.handlers)
        for event, handler in consumer.handlers.items():
            exchange = described.exchanges[event]
            assert (exchange.request, exchange.public) == (handler.struct, handler.public)


def test_an_event_without_a_meaning_is_no_document(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dance(_: UserConsumer, __: Nothing) -> Pong:
        raise NotImplementedError

    new = {**UserConsumer.handlers, "dance": Handler(Nothing, dance)}
    monkeypatch.setattr(UserConsumer, "handlers", new)
    with pytest.raises(KeyError, match="dance"):
        gateways(port=1, internal_port=2)
    monkeypatch.setattr(catalogue, "ASKED_BY_USERS", {**catalogue.ASKED_BY_USERS, "dance": "Do."})
    assert gateways(port=1, internal_port=2)[0].exchanges["dance"].reply is Pong
