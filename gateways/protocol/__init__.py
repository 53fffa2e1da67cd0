"""The wire: events, failures and codecs. Sans-IO: no Django, no asyncio, no Redis."""
