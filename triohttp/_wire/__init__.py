"""Bytes to events and back, one file a protocol; nothing in here awaits, reads a clock or touches a socket."""
