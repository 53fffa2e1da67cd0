"""Sockets: the receive loop, the table of events, the one place where exceptions become answers."""
