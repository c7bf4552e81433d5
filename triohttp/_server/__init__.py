"""The server: listeners, the nursery tree around connections, shutdown, records.

Rule 1: it knows connections and services; it knows nothing of apps, routes or handlers.
Rule 2: nothing that happens on one connection reaches another, or an accept loop.
"""
