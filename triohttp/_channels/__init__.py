"""Event streams, WebSockets and broadcast as trio channels; they know streams, and nothing of connections."""
