"""The web framework: App, Router, handlers, requests and responses, middleware, error pages.

Rule 1: this room sees exchanges (``_values.service``), never a connection, a server, a client or a socket.
Rule 2: the handler runs in the task that calls the app; nothing here opens a nursery or a scope for a request.
Rule 3: what a request does not ask for is not parsed, not allocated and not looked up.
"""

from __future__ import annotations
