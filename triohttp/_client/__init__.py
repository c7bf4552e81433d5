"""The client room: requests, the pool, dialling and answers.

It stands on ``_connection`` and never sees ``_server`` or ``_app``.
"""
