class StoreUnavailable(Exception):
    """Redis did not answer in time, or refused. What was asked may or may not have been done."""


class TooManySessions(Exception):
    """The user has as many as there may be."""
