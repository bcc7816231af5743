"""The servers of an nginx upstream, in a file that it includes."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, List, Optional, Union

from ._data import Config, Data, Ref

if TYPE_CHECKING:
    from .vocabulary import BecomeChoice, Host


class ServerOptions(Data):
    """Options of a server. What is not given is as nginx has it.

    weight: Its share of the requests. 1 if not given.
    max_conns: Most connections that each worker opens to it (all together, where the upstream has a `zone`).
        No limit if not given.
    max_fails: Failed attempts within `fail_timeout_s` after which it is left alone for that time; `0`: never.
        1 if not given.
    fail_timeout_s: In seconds. 10 if not given.
    """

    weight: Optional[int]
    max_conns: Optional[int]
    max_fails: Optional[int]
    fail_timeout_s: Optional[int]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            weight: Union[int, Ref, None] = None,
            max_conns: Union[int, Ref, None] = None,
            max_fails: Union[int, Ref, None] = None,
            fail_timeout_s: Union[int, Ref, None] = None,
        ) -> None: ...


class Nginx(Config):
    """Settings of the balancer `nginx`: one upstream, whose servers stand in a file of their own.

    file: The file that the upstream includes: `upstream web { include /etc/nginx/towpath/web.conf; }`.
        towpath keeps it: nothing else may be in it.
    on: The host that nginx runs on; this machine if not given.
    become: Whom the commands there become: `true` for root through sudo. What the host's connection says if
        not given.
    conf: nginx's main configuration, as `-c` takes it; the one that nginx was built for if not given.
    pid_file: The file that has the number of nginx's master process, as `pid` in its configuration says.
    test: The command that checks the configuration, and its arguments. `nginx -t` by default.
    reload: The command that reloads nginx, and its arguments. `nginx -s reload` by default.
    server: Options of a server that is added.
    reload_limit_s: Longest time until new workers serve after a reload, in seconds. 30 by default.
    lock_limit_s: Longest wait for another process that changes the file, in seconds. 60 by default.
    """

    role = "balancer"
    provider = "nginx"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            file: Union[str, Ref],
            on: Union[Host, Ref, None] = None,
            become: Union[BecomeChoice, Ref, None] = None,
            conf: Union[str, Ref, None] = None,
            pid_file: Union[str, Ref, None] = None,
            test: Union[List[str], Ref, None] = None,
            reload: Union[List[str], Ref, None] = None,
            server: Union[ServerOptions, Ref, None] = None,
            reload_limit_s: Union[int, Ref, None] = None,
            lock_limit_s: Union[int, Ref, None] = None,
        ) -> None: ...


__all__ = [
    "Nginx",
    "ServerOptions",
]
