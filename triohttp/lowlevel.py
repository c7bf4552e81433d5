"""The layer that the rest stands on, for programs that need it: what ``trio.lowlevel`` is to trio.

A ``Connection`` speaks HTTP over any trio stream, in either role; an exchange is one request and its answer on it. The
server's exchanges are what a bare service is given; the client's are what ``Client`` drives.
"""

from __future__ import annotations

from triohttp._connection.client_exchange import ClientExchange as ClientExchange
from triohttp._connection.connection import Connection as Connection
from triohttp._connection.content import IncomingContent as IncomingContent
from triohttp._connection.server_exchange import ServerExchange as ServerExchange
from triohttp._connection.tunnel import Tunnel as Tunnel
from triohttp._server.records import AccessRecord as AccessRecord
from triohttp._values.message import Address as Address
from triohttp._values.message import ConnectionInfo as ConnectionInfo
from triohttp._values.message import RequestHead as RequestHead
from triohttp._values.message import ResponseHead as ResponseHead
from triohttp._values.message import TLSInfo as TLSInfo
from triohttp._values.service import AnswerState as AnswerState
from triohttp._values.service import Content as Content
from triohttp._values.service import Deadlines as Deadlines
from triohttp._values.service import Exchange as Exchange
from triohttp._values.service import OnDisconnect as OnDisconnect
from triohttp._values.service import Service as Service
from triohttp._wire.events import EndOfContent as EndOfContent
from triohttp._wire.events import Event as Event
from triohttp._wire.events import Role as Role
from triohttp._wire.events import Signal as Signal
from triohttp._wire.events import Wire as Wire
from triohttp._wire.h1 import H1Wire as H1Wire
from triohttp._wire.websocket_deflate import Agreement as Agreement
