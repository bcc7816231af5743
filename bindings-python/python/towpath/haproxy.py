"""HAProxy's servers, through its runtime API."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, Optional, Union

from ._data import Config, Data, Ref

if TYPE_CHECKING:
    from .vocabulary import Host


class AddedServer(Data):
    """How a server is added. Nothing of a `default-server` line holds for it: HAProxy does not let added servers
    inherit.

    check: Lets HAProxy check the server: by a TCP connection, or as the backend section's `option httpchk`
        says. Not checked if not given.
    weight: Its share of the requests, 1 to 256. 1 if not given.
    maxconn: Most connections that HAProxy opens to it; further requests wait. No limit if not given.
    ssl: Speaks TLS with it.
    """

    check: Optional[ServerCheck]
    weight: Optional[int]
    maxconn: Optional[int]
    ssl: Optional[ServerTls]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            check: Union[ServerCheck, Ref, None] = None,
            weight: Union[int, Ref, None] = None,
            maxconn: Union[int, Ref, None] = None,
            ssl: Union[ServerTls, Ref, None] = None,
        ) -> None: ...


class ServerCheck(Data):
    """How HAProxy checks a server.

    inter_ms: Time between two checks, in milliseconds. 2000 by default.
    rise: Good checks in a row after which it is up. 2 by default.
    fall: Bad checks in a row after which it is down. 3 by default.
    """

    inter_ms: int
    rise: int
    fall: int

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            inter_ms: Union[int, Ref, None] = None,
            rise: Union[int, Ref, None] = None,
            fall: Union[int, Ref, None] = None,
        ) -> None: ...


class ServerTls(Data):
    """How HAProxy speaks TLS with a server. All files are on HAProxy's machine, and must be loaded by its
    configuration already: HAProxy opens no new ones once it runs.

    ca_file: File of the authorities that may have signed the server's certificate.
    accept_any_certificate: Takes any certificate: whoever is between HAProxy and the server can read and
        change everything.
    name: Name that the certificate must have, sent as server name, too.
    crt: File of the certificate and key that HAProxy shows to the server.
    """

    ca_file: Optional[str]
    accept_any_certificate: bool
    name: Optional[str]
    crt: Optional[str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            ca_file: Union[str, Ref, None] = None,
            accept_any_certificate: Union[bool, Ref, None] = None,
            name: Union[str, Ref, None] = None,
            crt: Union[str, Ref, None] = None,
        ) -> None: ...


class HaProxy(Config):
    """Settings of the balancer `haproxy`: one backend section of a running HAProxy.

    backend: Name of the backend section: `web`.
    socket: Where the runtime API listens, with `level admin`: the path of a Unix socket, or `127.0.0.1:9999`.
    on: The host that HAProxy runs on; this machine if not given. The socket is opened there, as the user that
        logs in.
    server: How a server is added that HAProxy's configuration does not have.
    state_file: File, on HAProxy's machine, that gets the state of all servers after each change: the one that
        `server-state-file` names in HAProxy's configuration. Its folder must exist.
    up_limit_s: Longest time until HAProxy's checks have seen an added server up, in seconds. 30 by default.
    reply_limit_s: Longest time for one answer of HAProxy, in seconds. 10 by default.
    """

    role = "balancer"
    provider = "haproxy"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            backend: Union[str, Ref],
            socket: Union[str, Ref, None] = None,
            on: Union[Host, Ref, None] = None,
            server: Union[AddedServer, Ref, None] = None,
            state_file: Union[str, Ref, None] = None,
            up_limit_s: Union[float, Ref, None] = None,
            reply_limit_s: Union[float, Ref, None] = None,
        ) -> None: ...


__all__ = [
    "AddedServer",
    "HaProxy",
    "ServerCheck",
    "ServerTls",
]
