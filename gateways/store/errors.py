class StoreUnavailable(Exception):
    """Redis did not answer in time, or refused. What was asked for may or may not have been done."""
