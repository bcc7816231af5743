"""This machine: hosts, balancer, monitor, log sink. Nothing to install."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Literal, Optional, Union

from ._data import Config, Data, Ref

if TYPE_CHECKING:
    from .vocabulary import BecomeSpec

BalancerMode = Literal["http", "tcp"]
"""What a balancer understands of the traffic."""

BalancerPolicy = Literal["round_robin", "least_connections"]
"""Which backend is next."""

LocalMode = Literal["auto", "namespace", "plain"]
"""How a local host is kept apart from this machine."""


class LocalBalancerConfig(Data):
    """Settings of the `local` balancer: a detached process that listens on a loopback port.

    name: Its name, unique in the environment. `front` by default. Lower-case letters, digits and `-`.
    mode: What it understands of the traffic. `http` by default.
    policy: Which backend is next. `round_robin` by default.
    port: The port on 127.0.0.1 that it listens on. A free one, kept over restarts, by default.
    connect_timeout_ms: Longest time of one attempt to connect to a backend, in milliseconds. `2000` by
        default.
    hold_ms: How long a request or connection is held while no backend takes it, in milliseconds, before it
        fails. `5000` by default.
    state_dir: State folder of the environment, as the provisioner's.
    """

    name: str
    mode: BalancerMode
    policy: BalancerPolicy
    port: Optional[int]
    connect_timeout_ms: int
    hold_ms: int
    state_dir: Optional[str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: Union[str, Ref, None] = None,
            mode: Union[BalancerMode, Ref, None] = None,
            policy: Union[BalancerPolicy, Ref, None] = None,
            port: Union[int, Ref, None] = None,
            connect_timeout_ms: Union[int, Ref, None] = None,
            hold_ms: Union[int, Ref, None] = None,
            state_dir: Union[str, Ref, None] = None,
        ) -> None: ...


class Local(Config):
    """Settings of the `local` provisioner: hosts on this machine.

    hosts: How many hosts there are.
    unguarded: Lets plain hosts run where the kernel can't keep them from writing this machine's files (no
        Landlock). Then nothing but the commands' own restraint does. `false` by default: such hosts are
        refused.
    name: What hosts are called: `web` makes `web-1`, `web-2`, ... `host` by default. Lower-case letters,
        digits and `-`.
    mode: How a host is kept apart from this machine. `auto` by default.
    ports: Names of variables that hold a free loopback port of each host, since all hosts share this
        machine's network: `["http_port"]`.
    labels: Labels of every host.
    vars: Variables of every host.
    groups: Groups that every host belongs to.
    state_dir: Folder for keys, trees and process records of the environment; made with mode 0700.
        `.towpath/local/<environment>` in the working directory by default.
    balancer: A balancer in front of the hosts, started and ended with them. Its address is the output
        `balancer`.
    start_timeout_s: Longest time that a host may take to start, in seconds. `20` by default.
    """

    role = "provisioner"
    provider = "local"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            hosts: Union[int, Ref],
            unguarded: Union[bool, Ref, None] = None,
            name: Union[str, Ref, None] = None,
            mode: Union[LocalMode, Ref, None] = None,
            ports: Union[List[str], Ref, None] = None,
            labels: Union[Dict[str, str], Ref, None] = None,
            vars: Union[Dict[str, Any], Ref, None] = None,
            groups: Union[List[str], Ref, None] = None,
            state_dir: Union[str, Ref, None] = None,
            balancer: Union[LocalBalancerConfig, Ref, None] = None,
            start_timeout_s: Union[int, Ref, None] = None,
        ) -> None: ...


class LocalArchive(Config):
    """Settings of the image builder `local-archive`: a host's configured tree as a file `tar.zst`.

    dir: Folder of the archives, made with mode 0700. `.towpath/images` in the working directory by default.
    paths: The absolute paths that are baked. By default, of a host of `local` all that it changed over this
        machine's own files, and of any other host `/etc`, `/home`, `/opt`, `/root`, `/srv`, `/usr/local` and
        `/var/www`.
    exclude: What is left out beside the usual: an absolute path with all below it, or a name anywhere. `*`
        and `?` stand for characters of one name: `/srv/web/releases`, `*.cache`.
    keep_owners: Keeps the numeric owners of files. `false` by default: all belong to 0:0.
    max_bytes: Most bytes that a tree may have, before it is compressed. `4294967296` (4 GiB) by default.
    become: The user who reads the tree. The one of the host's `become` by default, else the one who logs in.
    """

    role = "image_builder"
    provider = "local-archive"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            dir: Union[str, Ref, None] = None,
            paths: Union[List[str], Ref, None] = None,
            exclude: Union[List[str], Ref, None] = None,
            keep_owners: Union[bool, Ref, None] = None,
            max_bytes: Union[int, Ref, None] = None,
            become: Union[BecomeSpec, Ref, None] = None,
        ) -> None: ...


class LocalMonitor(Config):
    """Settings of the `local` monitor.

    keep: How many observations are kept in memory, the latest ones. `10000` by default.
    """

    role = "monitor"
    provider = "local"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            keep: Union[int, Ref, None] = None,
        ) -> None: ...


class LocalLogSink(Config):
    """Settings of the log sink `jsonl`: a file with one JSON object per line.

    path: The file, made with mode 0600. A missing folder is made with mode 0700; one that exists stays as it
        is.
    max_bytes: The size in bytes from which on a new file is begun. One batch is never divided. `67108864` (64
        MiB) by default.
    keep: How many former files are kept, as `<path>.1` (the newest), `<path>.2`, ... `5` by default.
    """

    role = "log_sink"
    provider = "jsonl"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            path: Union[str, Ref],
            max_bytes: Union[int, Ref, None] = None,
            keep: Union[int, Ref, None] = None,
        ) -> None: ...


class LocalBalancer(Config):
    """Settings of the `local` balancer: a detached process that listens on a loopback port.

    name: Its name, unique in the environment. `front` by default. Lower-case letters, digits and `-`.
    mode: What it understands of the traffic. `http` by default.
    policy: Which backend is next. `round_robin` by default.
    port: The port on 127.0.0.1 that it listens on. A free one, kept over restarts, by default.
    connect_timeout_ms: Longest time of one attempt to connect to a backend, in milliseconds. `2000` by
        default.
    hold_ms: How long a request or connection is held while no backend takes it, in milliseconds, before it
        fails. `5000` by default.
    state_dir: State folder of the environment, as the provisioner's.
    """

    role = "balancer"
    provider = "local"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: Union[str, Ref, None] = None,
            mode: Union[BalancerMode, Ref, None] = None,
            policy: Union[BalancerPolicy, Ref, None] = None,
            port: Union[int, Ref, None] = None,
            connect_timeout_ms: Union[int, Ref, None] = None,
            hold_ms: Union[int, Ref, None] = None,
            state_dir: Union[str, Ref, None] = None,
        ) -> None: ...


class LocalConnector(Config):
    """Settings of the connector `local`: none."""

    role = "connector"
    provider = "local"

    if TYPE_CHECKING:

        def __init__(self) -> None: ...


__all__ = [
    "BalancerMode",
    "BalancerPolicy",
    "Local",
    "LocalArchive",
    "LocalBalancer",
    "LocalBalancerConfig",
    "LocalConnector",
    "LocalLogSink",
    "LocalMode",
    "LocalMonitor",
]
