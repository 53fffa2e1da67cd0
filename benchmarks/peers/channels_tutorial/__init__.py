"""Channels as its tutorial teaches it: a consumer a socket, a group a user, served by daphne."""
