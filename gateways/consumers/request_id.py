"""What the lines that are logged while one request is served have in common."""


class RequestId:
    """Of a connection's requests, one after the other. It is bound to the log once a connection and
    made a text only where a line is logged: a request costs an addition.
    """

    __slots__ = ("_connection", "number")

    def __init__(self, socket_id: str) -> None:
        self._connection = socket_id.rpartition(".")[2][:8]
        #: How many frames came so far; 0 is the handshake.
        self.number = 0

    def __repr__(self) -> str:
        return f"{self._connection}-{self.number}"
