"""Players by the thousand in one process: what a gateway takes, and what becomes of each message.

It is to cost far less than what it measures: picows reads and writes the frames, and no message is
decoded, only found by the number in its text.
"""
