"""Hosts over SSH, and release directories on them."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, List, Literal, Union

from ._data import Config, Data, Ref

if TYPE_CHECKING:
    from .vocabulary import BecomeSpec, SecretRef

Files = Literal["auto", "sftp", "shell"]
"""How files travel."""

HostKeys = Literal["strict", "accept_new", "off"]
"""Which keys of hosts are trusted."""


class BuildStep(Data):
    """A command on this machine that makes what is shipped, once for each rollout. Its folder is the artifact's
    tree, unpacked, or that of the pipeline file where the release has no artifact. It finds the release's
    `TOWPATH_SERVICE` and `TOWPATH_VERSION` in its environment.

    run: Program and arguments.
    output: What it makes, seen from its folder: a file, or a folder whose contents become the release.
    limit_s: Longest time, in seconds. 1800 by default.
    """

    run: List[str]
    output: str
    limit_s: int

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            run: Union[List[str], Ref],
            output: Union[str, Ref],
            limit_s: Union[int, Ref, None] = None,
        ) -> None: ...


class ReleaseDirs(Config):
    """Settings of the deployer `release-dirs`.

    restart: Program and arguments that (re)start the service from `<root>/current`. Must return once it is
        started.
    root: Directory that holds `releases/`, `current` and `previous`. Made if it is not there. `/srv/web` by
        default. Here, and in the commands and `owner`, `{{ name }}` is replaced by the host's variable of
        this name.
    stop: Program and arguments that stop it. Without it `deactivate` fails where the service runs.
    running: Program and arguments that exit with 0 if it runs. Without it, it runs once it was activated.
    keep: Releases that are kept; older ones are removed after an activate, but never the current or the
        previous one. 5 by default.
    become: The user who does all this. The one of the host's `become` by default, else the one who logs in.
    owner: Owner of the release's files, `user` or `user:group`.
    file_name: Name of the executable in the release. The artifact's file name by default.
    shared: What all releases share, like uploads and logs: paths in the release that become links to the same
        paths below `<root>/shared`. One that ends with `/` is a directory, and is made if it is not there;
        any other must be there when the release is staged.
    build: Makes what is shipped on this machine, from the artifact or without one.
    """

    role = "deployer"
    provider = "release-dirs"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            restart: Union[List[str], Ref],
            root: Union[str, Ref, None] = None,
            stop: Union[List[str], Ref, None] = None,
            running: Union[List[str], Ref, None] = None,
            keep: Union[int, Ref, None] = None,
            become: Union[BecomeSpec, Ref, None] = None,
            owner: Union[str, Ref, None] = None,
            file_name: Union[str, Ref, None] = None,
            shared: Union[List[str], Ref, None] = None,
            build: Union[BuildStep, Ref, None] = None,
        ) -> None: ...


class Ssh(Config):
    """Settings of the connector `ssh`. Every key may also stand in a host's `connection.options`, where it wins.

    What is given nowhere comes from `~/.ssh/config`, then `/etc/ssh/ssh_config`, then from the defaults named
    here.

    host_keys: Which keys of hosts are trusted. `strict` by default.
    known_hosts: File of known host keys; the first one of several is written to. `~/.ssh/known_hosts` by
        default.
    host_key: The only key that the host may show, as in a `.pub` file. With it `known_hosts` is not read.
    identity_file: Private key to log in with. `~/.ssh/id_ed25519`, `id_ecdsa` and `id_rsa` by default.
    passphrase: Passphrase of private keys that have one. Without it such a key is used through the agent
        only.
    certificate_file: Certificate that goes with the key. `<identity_file>-cert.pub` is used by itself.
    identities_only: Uses no other key that the agent holds. `false` by default.
    identity_agent: Socket of the agent; `none` for no agent. `SSH_AUTH_SOCK` by default.
    proxy_jump: Host to go through: `[user@]host[:port]`, several with commas; `none` for none.
    proxy_command: Command whose streams are the connection, as OpenSSH's `ProxyCommand`. Counts where
        `proxy_jump` is not given.
    files: How files travel. `auto` by default.
    connect_timeout_s: Longest wait for connecting and logging in, in seconds. 10 by default.
    keepalive_s: Seconds of silence after which the host is asked whether it is still there; three times
        without an answer end the connection. 15 by default, `0` never asks.
    idle_s: Seconds that a transport is kept after its last use. 60 by default.
    ssh_config: OpenSSH client configuration to read; `none` for none. `~/.ssh/config`, then
        `/etc/ssh/ssh_config` by default, as far as they are there.
    """

    role = "connector"
    provider = "ssh"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            host_keys: Union[HostKeys, Ref, None] = None,
            known_hosts: Union[str, Ref, None] = None,
            host_key: Union[str, Ref, None] = None,
            identity_file: Union[str, Ref, None] = None,
            passphrase: Union[SecretRef, Ref, None] = None,
            certificate_file: Union[str, Ref, None] = None,
            identities_only: Union[bool, Ref, None] = None,
            identity_agent: Union[str, Ref, None] = None,
            proxy_jump: Union[str, Ref, None] = None,
            proxy_command: Union[str, Ref, None] = None,
            files: Union[Files, Ref, None] = None,
            connect_timeout_s: Union[int, Ref, None] = None,
            keepalive_s: Union[int, Ref, None] = None,
            idle_s: Union[int, Ref, None] = None,
            ssh_config: Union[str, Ref, None] = None,
        ) -> None: ...


__all__ = [
    "BuildStep",
    "Files",
    "HostKeys",
    "ReleaseDirs",
    "Ssh",
]
