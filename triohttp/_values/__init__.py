"""What HTTP talks about, as values: header fields, URLs, queries, status codes, media types, cookies, dates, limits.

Rule 1: this room imports ``triohttp.errors`` and nothing else of ours; no trio, no clock, no I/O.
Rule 2: what arrives from a peer is parsed in linear time, within bounds, and only when somebody asks for it.
Rule 3: what a program gives us is checked where it is given, never when it is sent.
Rule 4: a value is immutable, or plainly mutable (``Headers``); nothing here notifies, caches per message or locks.
"""
