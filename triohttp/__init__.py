"""The HTTP stack for trio: server, web framework and client as one piece of software."""

from __future__ import annotations

from triohttp._server.serve import open_server as open_server
from triohttp._server.serve import serve as serve
from triohttp._server.server import Server as Server
from triohttp._server.server import ServerStatistics as ServerStatistics
from triohttp._values.headers import Headers as Headers
from triohttp._values.limits import ClientLimits as ClientLimits
from triohttp._values.limits import ClientTimeouts as ClientTimeouts
from triohttp._values.limits import Limits as Limits
from triohttp._values.limits import RouteLimits as RouteLimits
from triohttp._values.limits import RouteTimeouts as RouteTimeouts
from triohttp._values.limits import Timeouts as Timeouts
