"""Messages between users on two gateway processes."""

from tests.e2e.client import connect_as
from tests.e2e.conftest import StartGateway


async def test_each_recipient_gets_its_message_whichever_process_holds_it(
    start_gateway: StartGateway,
) -> None:
    first, second = start_gateway(), start_gateway()
    async with (
        connect_as(first.url, "alice") as alice,
        connect_as(first.url, "bob") as bob,
        connect_as(second.url, "carol") as carol,
    ):
        receipt = await alice.request(
            "send_message", {"recipientIds": ["bob", "carol", "dora"], "message": "hello"}
        )
        assert receipt["status"] == "sent"
        assert receipt["recipients"] == {
            "total": 3,
            "sent": ["bob", "carol"],
            "queued": ["dora"],
            "failed": [],
        }
        for client, name in ((bob, "bob"), (carol, "carol")):
            (message,) = await client.pushed("message")
            assert message["recipientId"] == name
            assert message["senderId"] == "alice"
            assert message["id"] == receipt["messageId"]
            assert message["seq"] == 1
