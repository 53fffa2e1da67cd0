"""The messages that nearly all clients send nearly always: one text frame each, that came whole.

websockets' parser is right about every frame there can be, and takes 7 µs for one. These take 1
here; whatever is anything else is left to it.
"""

from typing import Final

from websockets.frames import apply_mask  # type: ignore[attr-defined]  # the fast one, where it is there

#: RFC 6455, section 5.2: a final frame, no extension bits, text.
FINAL_TEXT: Final = 0x81
MASKED: Final = 0x80
TWO_BYTE_LENGTH: Final = 126


def take_texts(data: bytes, *, max_bytes: int, at_most: int) -> tuple[list[str], int]:
    """The messages at the front of `data`, and how many bytes they were.

    Stops at a frame that is not whole yet, too large, no text, or nothing that this knows.
    """
    texts: list[str] = []
    at, end = 0, len(data)
    while end - at > 5 and data[at] == FINAL_TEXT and len(texts) < at_most:
        length, payload = data[at + 1] - MASKED, at + 6
        if length == TWO_BYTE_LENGTH:
            length, payload = data[at + 2] << 8 | data[at + 3], at + 8
        # Unmasked, or of a length that takes eight bytes.
        if length < 0 or data[at + 1] == 0xFF or length > max_bytes or payload + length > end:
            break
        try:
            text = apply_mask(
                data[payload : payload + length], data[payload - 4 : payload]
            ).decode()
        except UnicodeDecodeError:
            break
        texts.append(text)
        at = payload + length
    return texts, at
