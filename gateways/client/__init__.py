"""The other end of the wire: a client in Python, for the terminal and for whoever needs one."""
