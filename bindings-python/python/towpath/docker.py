"""Containers, images and development environments through the Docker Engine."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Literal, Optional, Union

from ._data import Config, Data, Ref
from .vocabulary import SecretRef

DependsOn = Literal["started", "healthy", "completed"]
"""What is waited for of a container that comes first."""

MountKind = Literal["volume", "bind", "tmpfs"]
"""The kind of a mount."""

Pull = Literal["missing", "never"]
"""Whether an image that the engine does not have is pulled."""

Restart = Literal["no", "always", "unless-stopped", "on-failure"]
"""What the engine does when a container ends."""

Switch = Union[Literal["recreate"], Dict[str, Any]]
"""How one version takes the place of another."""


class Beside(Data):
    """Two containers beside each other while one takes the place of the other.

    port: The port that the service listens on in its container.
    host_ports: The two ports of the host on which it is published in turns: those of the slots `a` and `b`.
    on_switch: Tells the proxy. Also when nothing has changed, so it must do no harm then.
    address: Address of the host on which it is published. `127.0.0.1` by default.
    linger_s: Seconds between telling the proxy and asking the old container to end, for requests that are
        under way. `5` by default.
    """

    port: int
    host_ports: List[int]
    on_switch: OnSwitch
    address: str
    linger_s: int

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            port: Union[int, Ref],
            host_ports: Union[List[int], Ref],
            on_switch: Union[OnSwitch, Ref],
            address: Union[str, Ref, None] = None,
            linger_s: Union[int, Ref, None] = None,
        ) -> None: ...


class ContainerSpec(Data):
    """A container of an environment.

    image: The image that it is made from; with `build`, one more name of what is built.
    build: Builds its image from a Dockerfile, when that or a file of its context has changed.
    command: Command, or arguments of the entrypoint. The image's by default.
    entrypoint: The program that runs. The image's by default.
    env: Environment variables.
    secret_env: Environment variables whose values are secrets. They are resolved when the container is made;
        the engine keeps and shows them, as it does all variables. A new value of a secret alone does not
        replace the container.
    ports: Published ports: `8080:80`, `80` (any free port), `127.0.0.1:5353:53/udp`. On 127.0.0.1 unless an
        address is given.
    mounts: Volumes, folders of the engine's machine and memory that it sees.
    networks: Networks that it is in, under its own name. `default` if none is given.
    healthcheck: How the engine checks that it works. The image's check by default.
    depends_on: Containers that come first, and what is waited for.
    user: The user that it runs as. The image's by default.
    workdir: The directory that it starts in. The image's by default.
    hostname: Its host name. Its own name by default.
    restart: What the engine does when it ends. `no` by default.
    once: It runs to its end once, which must be exit code 0: a migration. `false` by default: it stays
        running.
    init: Runs a small init that forwards signals and collects children. `false` by default.
    cap_add: Capabilities of the kernel that it gets: `NET_ADMIN`.
    security_opt: Security options of the engine: `seccomp=unconfined`.
    privileged: Gives it all rights of the machine. `false` by default.
    extra_hosts: More names that it knows: `db:10.0.0.1`.
    labels: Labels of the container, and of its host in the inventory.
    stop_signal: The signal that asks it to end. The image's by default, else `TERM`.
    stop_grace_s: Seconds that it has to end before it is killed. `10` by default.
    not_a_host: Leaves it out of the inventory. `false` by default: it is a host that playbooks can configure.
    groups: Groups of the inventory that it is in.
    vars: Its variables in the inventory.
    """

    image: str
    build: Optional[DockerfileConfig]
    command: Optional[List[str]]
    entrypoint: Optional[List[str]]
    env: Dict[str, str]
    secret_env: Dict[str, SecretRef]
    ports: List[str]
    mounts: List[MountSpec]
    networks: List[str]
    healthcheck: Optional[Healthcheck]
    depends_on: Dict[str, DependsOn]
    user: Optional[str]
    workdir: Optional[str]
    hostname: Optional[str]
    restart: Restart
    once: bool
    init: bool
    cap_add: List[str]
    security_opt: List[str]
    privileged: bool
    extra_hosts: List[str]
    labels: Dict[str, str]
    stop_signal: Optional[str]
    stop_grace_s: Optional[int]
    not_a_host: bool
    groups: List[str]
    vars: Dict[str, Any]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            image: Union[str, Ref, None] = None,
            build: Union[DockerfileConfig, Ref, None] = None,
            command: Union[List[str], Ref, None] = None,
            entrypoint: Union[List[str], Ref, None] = None,
            env: Union[Dict[str, str], Ref, None] = None,
            secret_env: Union[Dict[str, SecretRef], Ref, None] = None,
            ports: Union[List[str], Ref, None] = None,
            mounts: Union[List[MountSpec], Ref, None] = None,
            networks: Union[List[str], Ref, None] = None,
            healthcheck: Union[Healthcheck, Ref, None] = None,
            depends_on: Union[Dict[str, DependsOn], Ref, None] = None,
            user: Union[str, Ref, None] = None,
            workdir: Union[str, Ref, None] = None,
            hostname: Union[str, Ref, None] = None,
            restart: Union[Restart, Ref, None] = None,
            once: Union[bool, Ref, None] = None,
            init: Union[bool, Ref, None] = None,
            cap_add: Union[List[str], Ref, None] = None,
            security_opt: Union[List[str], Ref, None] = None,
            privileged: Union[bool, Ref, None] = None,
            extra_hosts: Union[List[str], Ref, None] = None,
            labels: Union[Dict[str, str], Ref, None] = None,
            stop_signal: Union[str, Ref, None] = None,
            stop_grace_s: Union[int, Ref, None] = None,
            not_a_host: Union[bool, Ref, None] = None,
            groups: Union[List[str], Ref, None] = None,
            vars: Union[Dict[str, Any], Ref, None] = None,
        ) -> None: ...


class DockerfileConfig(Data):
    """A Dockerfile and what it is built with, by the engine's own (classic) builder.

    The base of the image's definition is the build argument `BASE`, for a Dockerfile that says `ARG BASE` and
    `FROM ${BASE}`.

    context: Folder whose files the Dockerfile may copy, without what its `.dockerignore` names.
    path: The Dockerfile, relative to the context.
    args: Build arguments. They stand readable in the image's history: no place for a secret.
    target: The stage that is wanted; the last one if not given.
    """

    context: str
    path: str
    args: Dict[str, str]
    target: Optional[str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            context: Union[str, Ref, None] = None,
            path: Union[str, Ref, None] = None,
            args: Union[Dict[str, str], Ref, None] = None,
            target: Union[str, Ref, None] = None,
        ) -> None: ...


class Healthcheck(Data):
    """How the engine checks that a container works.

    test: `["CMD", program, argument...]`, `["CMD-SHELL", command]`, or `["NONE"]` for none.
    interval_ms: Milliseconds between two checks, and before the first one. `1000` by default.
    timeout_ms: Milliseconds that a check may take. The engine's default, 30 seconds, if not given.
    retries: Failures in a row that make it unhealthy. The engine's default, 3, if not given.
    start_period_ms: Milliseconds from its start in which failures don't count. `0` by default.
    """

    test: List[str]
    interval_ms: Optional[int]
    timeout_ms: Optional[int]
    retries: Optional[int]
    start_period_ms: Optional[int]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            test: Union[List[str], Ref],
            interval_ms: Union[int, Ref, None] = None,
            timeout_ms: Union[int, Ref, None] = None,
            retries: Union[int, Ref, None] = None,
            start_period_ms: Union[int, Ref, None] = None,
        ) -> None: ...


class MountSpec(Data):
    """Something that a container sees in its file system.

    type: What it is.
    target: Where the container sees it.
    source: The volume's name, or the folder. Relative folders start at the pipeline's or Compose file's.
    read_only: It can't be written. `false` by default.
    options: Options of a `tmpfs`, as mount(8) takes them: `exec,size=64m`.
    """

    type: MountKind
    target: str
    source: Optional[str]
    read_only: bool
    options: Optional[str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            type: Union[MountKind, Ref],
            target: Union[str, Ref],
            source: Union[str, Ref, None] = None,
            read_only: Union[bool, Ref, None] = None,
            options: Union[str, Ref, None] = None,
        ) -> None: ...


class NetworkSpec(Data):
    """A network of an environment.

    driver: The engine's driver. `bridge` by default.
    internal: It has no way out. `false` by default.
    labels: Labels.
    """

    driver: Optional[str]
    internal: bool
    labels: Dict[str, str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            driver: Union[str, Ref, None] = None,
            internal: Union[bool, Ref, None] = None,
            labels: Union[Dict[str, str], Ref, None] = None,
        ) -> None: ...


class OnSwitch(Data):
    """How a proxy on the target learns where the service is. In all texts `{{ towpath_port }}` is the port of
    the host, `{{ towpath_slot }}` `a` or `b`, `{{ towpath_container }}` the container's id, `{{
    towpath_version }}` the version.

    file: A file on the target that is written first, whole or not at all.
    command: Program and arguments that run on the target then, as the user of the host's `become` if it has
        one. Must return when the proxy sends no new request to the old port: `[systemctl, reload, nginx]`.
    """

    file: Optional[SwitchFile]
    command: Optional[List[str]]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            file: Union[SwitchFile, Ref, None] = None,
            command: Union[List[str], Ref, None] = None,
        ) -> None: ...


class Ready(Data):
    """When a started container counts as working. If it has a health check, that must pass, too.

    port: A port of the container on which something must listen. Asked from the target's host, where it is
        published, else at the container's own address. With `switch: beside` its port by default, else none:
        then it must run on for a second.
    path: A path that must answer on this port with an HTTP status from 200 to 399: `/healthz`.
    timeout_s: Longest wait, in seconds. `60` by default.
    """

    port: Optional[int]
    path: Optional[str]
    timeout_s: int

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            port: Union[int, Ref, None] = None,
            path: Union[str, Ref, None] = None,
            timeout_s: Union[int, Ref, None] = None,
        ) -> None: ...


class RegistryLogin(Data):
    """An account at a registry.

    username: The user.
    password: The password or access token. Resolved when an image is pulled, and handed to the target's
        engine with that request only.
    """

    username: str
    password: SecretRef

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            username: Union[str, Ref],
            password: Union[SecretRef, Ref],
        ) -> None: ...


class ServiceContainer(Data):
    """How a service's container is made.

    command: Command, or arguments of the entrypoint. The image's by default.
    entrypoint: The program that runs. The image's by default.
    env: Environment variables. Those of the release come on top.
    secret_env: Environment variables whose values are secrets. They are resolved when the container is made;
        the engine keeps and shows them, as it does all variables. A new value of a secret alone does not
        replace the container.
    ports: Published ports: `8080:80`, `0.0.0.0:8080:80`, `127.0.0.1:5353:53/udp`. On 127.0.0.1 unless an
        address is given.
    mounts: Volumes (by their names in the engine; made if they are not there, never removed), folders of the
        engine's machine and memory that it sees.
    networks: Networks that it is in, by their names in the engine. They must be there. It is found in them
        under the service's name; with `switch: beside` under the service's name and its slot: `web-a`,
        `web-b`. The engine's default network if none is given.
    healthcheck: How the engine checks that it works. The image's check by default.
    user: The user that it runs as. The image's by default.
    workdir: The directory that it starts in. The image's by default.
    restart: What the engine does when it ends: `no` or `unless-stopped`, the default. The others are refused:
        with them the engine would start former versions again when it is itself restarted.
    memory_bytes: Most bytes of memory that it may use. No limit by default.
    cpus: How many processors it may use: `0.5`. No limit by default.
    pids_limit: Most processes that it may have. No limit by default.
    read_only: It can't write its own file system. `false` by default.
    init: Runs a small init that forwards signals and collects children. `false` by default.
    cap_add: Capabilities of the kernel that it gets: `NET_ADMIN`.
    cap_drop: Capabilities of the kernel that are taken from it: `ALL`.
    security_opt: Security options of the engine: `no-new-privileges`.
    extra_hosts: More names that it knows: `db:10.0.0.1`.
    labels: Labels.
    stop_signal: The signal that asks it to end. The image's by default, else `TERM`.
    stop_timeout_s: Seconds that it has to end before it is killed. `10` by default.
    """

    command: Optional[List[str]]
    entrypoint: Optional[List[str]]
    env: Dict[str, str]
    secret_env: Dict[str, SecretRef]
    ports: List[str]
    mounts: List[MountSpec]
    networks: List[str]
    healthcheck: Optional[Healthcheck]
    user: Optional[str]
    workdir: Optional[str]
    restart: Restart
    memory_bytes: Optional[int]
    cpus: Optional[float]
    pids_limit: Optional[int]
    read_only: bool
    init: bool
    cap_add: List[str]
    cap_drop: List[str]
    security_opt: List[str]
    extra_hosts: List[str]
    labels: Dict[str, str]
    stop_signal: Optional[str]
    stop_timeout_s: int

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            command: Union[List[str], Ref, None] = None,
            entrypoint: Union[List[str], Ref, None] = None,
            env: Union[Dict[str, str], Ref, None] = None,
            secret_env: Union[Dict[str, SecretRef], Ref, None] = None,
            ports: Union[List[str], Ref, None] = None,
            mounts: Union[List[MountSpec], Ref, None] = None,
            networks: Union[List[str], Ref, None] = None,
            healthcheck: Union[Healthcheck, Ref, None] = None,
            user: Union[str, Ref, None] = None,
            workdir: Union[str, Ref, None] = None,
            restart: Union[Restart, Ref, None] = None,
            memory_bytes: Union[int, Ref, None] = None,
            cpus: Union[float, Ref, None] = None,
            pids_limit: Union[int, Ref, None] = None,
            read_only: Union[bool, Ref, None] = None,
            init: Union[bool, Ref, None] = None,
            cap_add: Union[List[str], Ref, None] = None,
            cap_drop: Union[List[str], Ref, None] = None,
            security_opt: Union[List[str], Ref, None] = None,
            extra_hosts: Union[List[str], Ref, None] = None,
            labels: Union[Dict[str, str], Ref, None] = None,
            stop_signal: Union[str, Ref, None] = None,
            stop_timeout_s: Union[int, Ref, None] = None,
        ) -> None: ...


class SwitchFile(Data):
    """A file that says where the service is.

    path: Its absolute path on the target; the folder must be there.
    content: What is in it: `server 127.0.0.1:{{ towpath_port }};`.
    """

    path: str
    content: str

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            path: Union[str, Ref],
            content: Union[str, Ref],
        ) -> None: ...


class VolumeSpec(Data):
    """A volume of an environment.

    driver: The engine's driver. `local` by default.
    driver_opts: Options of the driver.
    labels: Labels.
    """

    driver: Optional[str]
    driver_opts: Dict[str, str]
    labels: Dict[str, str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            driver: Union[str, Ref, None] = None,
            driver_opts: Union[Dict[str, str], Ref, None] = None,
            labels: Union[Dict[str, str], Ref, None] = None,
        ) -> None: ...


class DockerEnvironment(Config):
    """Settings of the provisioner `docker`: the containers, networks and volumes of a development environment.

    host: Where the engine listens: `unix:///path` or `tcp://host:port` (without TLS). `DOCKER_HOST` by
        default, else `unix:///var/run/docker.sock`.
    project: Whose things these are. Two projects share nothing, also where their environments and containers
        have the same names; nor do two steps of a pipeline. By default the `name` of the Compose file, else
        the folder of the Compose file or the pipeline: another checkout is another project. Set it where
        several machines or checkouts share one environment.
    compose: A Compose file whose services, networks and volumes are part of the environment. Of Compose the
        common subset is understood; anything else is refused by name.
    containers: Containers by name, beside those of the Compose file.
    networks: Networks by name. Containers that name none share one called `default`.
    volumes: Volumes by name. They keep their data when a container is replaced, as do volumes without a name;
        `destroy` removes them.
    pull: Whether an image that the engine does not have is pulled. `missing` by default.
    health_timeout_s: Longest wait for one container to become healthy, in seconds. `60` by default.
    """

    role = "provisioner"
    provider = "docker"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            host: Union[str, Ref, None] = None,
            project: Union[str, Ref, None] = None,
            compose: Union[str, Ref, None] = None,
            containers: Union[Dict[str, ContainerSpec], Ref, None] = None,
            networks: Union[Dict[str, NetworkSpec], Ref, None] = None,
            volumes: Union[Dict[str, VolumeSpec], Ref, None] = None,
            pull: Union[Pull, Ref, None] = None,
            health_timeout_s: Union[int, Ref, None] = None,
        ) -> None: ...


class DockerImage(Config):
    """Settings of the image builder `docker`.

    What is not given here stays as the base image has it.

    host: Where the engine listens: `unix:///path` or `tcp://host:port` (without TLS). `DOCKER_HOST` by
        default, else `unix:///var/run/docker.sock`.
    tags: Names that the image gets: `registry.example/web:1.4`. `towpath/<name>:<first 12 digits of its
        content key>` by default.
    pull: Whether a base that the engine does not have is pulled. `missing` by default.
    network: Network of the containers in which it is configured: `bridge`, `host`, `none` or the name of one.
        The engine's default if not given. What comes out does not depend on it.
    groups: Groups of the inventory that the container is in while it is configured, so that plays for `hosts:
        web` see it. The host itself has the name of the image's definition.
    entrypoint: The program that a container of the image runs, and its arguments.
    cmd: The command, or arguments of the entrypoint. As in a Dockerfile, a new entrypoint drops the base's
        command.
    env: Environment variables on top of those of the base. They stand readable in the image: no place for a
        secret.
    expose: Ports that it listens on: `8080`, `53/udp`.
    user: The user that its containers run as.
    workdir: The directory that its containers start in.
    dockerfile: Builds from a Dockerfile, instead of configurators.
    """

    role = "image_builder"
    provider = "docker"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            host: Union[str, Ref, None] = None,
            tags: Union[List[str], Ref, None] = None,
            pull: Union[Pull, Ref, None] = None,
            network: Union[str, Ref, None] = None,
            groups: Union[List[str], Ref, None] = None,
            entrypoint: Union[List[str], Ref, None] = None,
            cmd: Union[List[str], Ref, None] = None,
            env: Union[Dict[str, str], Ref, None] = None,
            expose: Union[List[str], Ref, None] = None,
            user: Union[str, Ref, None] = None,
            workdir: Union[str, Ref, None] = None,
            dockerfile: Union[DockerfileConfig, Ref, None] = None,
        ) -> None: ...


class DockerDeploy(Config):
    """Settings of the deployer `docker`: one service, as a container on each host, by the digest of its image.

    In `name`, `host`, `socket`, `container.ports` and everything of `switch`, `{{ name }}` is replaced by the
    host's variable of this name.

    service: The service whose releases these are: `web`. Releases of another one are refused.
    host: The engine, where this machine reaches it without the target's connection: `unix:///path` or
        `tcp://host:port` (without TLS). By default it is reached on each target at `socket`, through the
        target's own connection.
    socket: Path of the engine's socket on the target. `/var/run/docker.sock` by default; the user who logs in
        must be allowed to open it.
    name: Name of the container that serves. `towpath-<environment>-<service>-<host>` by default. Those of
        former versions have it too, with version and a digest appended.
    container: How the container is made.
    switch: How one version takes the place of another. `recreate` by default.
    ready: When a started container counts as working.
    pull: Whether an image that the target's engine does not have is pulled. `missing` by default.
    registry: The account at the registry that images are pulled from.
    transfer: Copies images from an engine that this machine reaches (`docker save`, `docker load`) instead of
        pulling them, so that no registry is needed. `false` by default.
    transfer_from: The engine that images are copied from: `unix:///path` or `tcp://host:port`. `DOCKER_HOST`
        by default, else `unix:///var/run/docker.sock`.
    keep: Stopped containers of former versions that are kept, so that going back only starts one. Older ones
        are removed after an activate, with their images if nothing else names those. `1` by default.
    """

    role = "deployer"
    provider = "docker"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            service: Union[str, Ref],
            host: Union[str, Ref, None] = None,
            socket: Union[str, Ref, None] = None,
            name: Union[str, Ref, None] = None,
            container: Union[ServiceContainer, Ref, None] = None,
            switch: Union[Switch, Ref, None] = None,
            ready: Union[Ready, Ref, None] = None,
            pull: Union[Pull, Ref, None] = None,
            registry: Union[RegistryLogin, Ref, None] = None,
            transfer: Union[bool, Ref, None] = None,
            transfer_from: Union[str, Ref, None] = None,
            keep: Union[int, Ref, None] = None,
        ) -> None: ...


class DockerConnector(Config):
    """Settings of the connector `docker`.

    host: Where the engine listens: `unix:///path` or `tcp://host:port` (without TLS). `DOCKER_HOST` by
        default, else `unix:///var/run/docker.sock`. A host's `connection.options.host` wins.
    """

    role = "connector"
    provider = "docker"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            host: Union[str, Ref, None] = None,
        ) -> None: ...


__all__ = [
    "Beside",
    "ContainerSpec",
    "DependsOn",
    "DockerConnector",
    "DockerDeploy",
    "DockerEnvironment",
    "DockerImage",
    "DockerfileConfig",
    "Healthcheck",
    "MountKind",
    "MountSpec",
    "NetworkSpec",
    "OnSwitch",
    "Pull",
    "Ready",
    "RegistryLogin",
    "Restart",
    "ServiceContainer",
    "Switch",
    "SwitchFile",
    "VolumeSpec",
]
