"""The rules: presence, delivery, friends, sessions. No frames, no scope, no Redis commands."""
