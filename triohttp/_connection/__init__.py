"""The room that moves bytes: the only one that reads from or writes to a stream.

Rule 1: server and client use the same ``Connection``; roles differ in their exchanges only.
Rule 2: a write that did not finish poisons its connection, in one place; after that nothing goes out, terminators
        included.
Rule 3: every wait for the peer can be woken in place (``wake``); user code is only ever cancelled by ``cancel``.
"""
