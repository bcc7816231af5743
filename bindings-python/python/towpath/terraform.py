"""Terraform and OpenTofu, the real programs."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Union

from ._data import Config, Data, Ref
from .vocabulary import ConnectionSpec

if TYPE_CHECKING:
    from .vocabulary import SecretRef


class Download(Data):
    """A release of Terraform or OpenTofu as its makers publish it: a ZIP archive with the program in it.

    It is fetched when it is needed first, and kept below `dir` (by default `towpath/terraform` in
    `XDG_CACHE_HOME`, else in `~/.cache`) under its digest. Anything that has another digest is refused before
    a byte of it is unpacked.

    url: Where it is: `https://` or `http://`. Proxies are taken from the usual variables (`HTTPS_PROXY`,
        ...), certificates from the system.
    sha256: The archive's SHA-256, in hex, as its makers publish it beside it.
    dir: Folder where it is kept. Below the user's cache folder by default.
    """

    url: str
    sha256: str
    dir: Optional[str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            url: Union[str, Ref],
            sha256: Union[str, Ref],
            dir: Union[str, Ref, None] = None,
        ) -> None: ...


class HostsFrom(Data):
    """Says which output holds hosts, and which of its fields mean what.

    The output is a list or a map (its keys are the hosts' names) of addresses or of objects, or a single
    address or object. Fields that are not named here become variables of the host.

    output: The output. It must not be sensitive: inventories are stored.
    groups: Groups that these hosts belong to. The output's name if not given.
    name: The field with the host's name. `name` by default; without such a field the map's key, else
        `<output>-<n>` from 1.
    address: The field with the address. `address` by default; without such a field the connection's address,
        else the host's name.
    port: The field with the port. `port` by default; without such a field the connection's port.
    user: The field with the user. `user` by default; without such a field the connection's user.
    connection: How these hosts are reached, where no field says it.
    """

    output: str
    groups: Optional[List[str]]
    name: str
    address: str
    port: str
    user: str
    connection: ConnectionSpec

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            output: Union[str, Ref],
            groups: Union[List[str], Ref, None] = None,
            name: Union[str, Ref, None] = None,
            address: Union[str, Ref, None] = None,
            port: Union[str, Ref, None] = None,
            user: Union[str, Ref, None] = None,
            connection: Union[ConnectionSpec, Ref, None] = None,
        ) -> None: ...


class Terraform(Config):
    """Settings of the `terraform` provisioner: a root module, and how Terraform or OpenTofu runs it.

    module: Folder of the root module. A relative path starts at the pipeline file.
    program: The program: `terraform`, `tofu`, or a path. By default the first of `terraform` and `tofu` that
        is on `PATH`.
    download: The program as a pinned download, instead of `program`.
    version: The version wanted, if it must be this one: `1.11.4`, or `1.11` for any patch of it.
    workspace: The workspace. `{environment}` stands for the environment's name. Terraform's own choice
        (`default`, or what `terraform workspace select` chose in the module's folder) if not given.
    vars: Values of the root module's variables. One that the module does not declare is an error.
    secret_vars: Values of variables that are secret. Declare them `sensitive`: Terraform writes every
        variable into plan and state.
    var_files: Files of variables, as `-var-file` takes them; later ones count more, and `vars` most. Relative
        paths start at the pipeline file.
    backend: Settings of the backend, as `-backend-config` takes them. Credentials belong into `secret_env`.
    backend_files: Files of backend settings. Relative paths start at the pipeline file.
    env: Environment variables for the tool, on top of this process's own: `AWS_PROFILE`,
        `TF_CLI_CONFIG_FILE`, ...
    secret_env: Environment variables whose values are secret.
    targets: Only these resources and what they need, as `-target` takes them. For exceptional cases, as
        Terraform says too.
    replace: Resources to make anew, as `-replace` takes them. They are replaced by every apply.
    refresh: Whether a plan looks at the real resources first. `true` by default.
    lock_timeout_s: Longest wait for the lock of the state, in seconds. `0`, the default, fails at once and
        names the lock's owner.
    parallelism: How many resources are worked on at once. Terraform's default (10) if not given.
    upgrade: Whether `init` takes newer versions of modules and providers than the lock file names. `false` by
        default.
    interrupt_s: How long an interrupted tool may take to save its state and end, in seconds. It is never
        killed: after this time the call returns and says that it still runs. `600` by default.
    hosts: Which outputs hold hosts. Their hosts are the environment's inventory.
    """

    role = "provisioner"
    provider = "terraform"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            module: Union[str, Ref],
            program: Union[str, Ref, None] = None,
            download: Union[Download, Ref, None] = None,
            version: Union[str, Ref, None] = None,
            workspace: Union[str, Ref, None] = None,
            vars: Union[Dict[str, Any], Ref, None] = None,
            secret_vars: Union[Dict[str, SecretRef], Ref, None] = None,
            var_files: Union[List[str], Ref, None] = None,
            backend: Union[Dict[str, str], Ref, None] = None,
            backend_files: Union[List[str], Ref, None] = None,
            env: Union[Dict[str, str], Ref, None] = None,
            secret_env: Union[Dict[str, SecretRef], Ref, None] = None,
            targets: Union[List[str], Ref, None] = None,
            replace: Union[List[str], Ref, None] = None,
            refresh: Union[bool, Ref, None] = None,
            lock_timeout_s: Union[int, Ref, None] = None,
            parallelism: Union[int, Ref, None] = None,
            upgrade: Union[bool, Ref, None] = None,
            interrupt_s: Union[int, Ref, None] = None,
            hosts: Union[List[HostsFrom], Ref, None] = None,
        ) -> None: ...


__all__ = [
    "Download",
    "HostsFrom",
    "Terraform",
]
