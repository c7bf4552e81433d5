"""The HTTP stack for trio: server, web framework and client as one piece of software."""

from __future__ import annotations

from triohttp._client.client import Client as Client
from triohttp._client.links import Link as Link
from triohttp._client.oneshot import delete as delete
from triohttp._client.oneshot import get as get
from triohttp._client.oneshot import head as head
from triohttp._client.oneshot import options as options
from triohttp._client.oneshot import patch as patch
from triohttp._client.oneshot import post as post
from triohttp._client.oneshot import put as put
from triohttp._client.oneshot import request as request
from triohttp._client.origin import Origin as Origin
from triohttp._client.pool import OriginStatistics as OriginStatistics
from triohttp._client.pool import PoolStatistics as PoolStatistics
from triohttp._client.request import ClientRequest as ClientRequest
from triohttp._client.request import RequestOptions as RequestOptions
from triohttp._client.response import ClientResponse as ClientResponse
from triohttp._client.stream import ClientResponseStream as ClientResponseStream
from triohttp._client.stream import Upgraded as Upgraded
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
from triohttp._values.media_types import MediaType as MediaType
from triohttp._values.query import Query as Query
from triohttp._values.url import URL as URL
