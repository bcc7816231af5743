"""What configs and inputs are made of."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Literal, Optional, Union

from ._data import Config, Data, Ref

ArtifactKind = Literal["ami", "vagrant_box", "docker_image", "disk", "archive", "file"]
"""The kind of thing that an image builder makes."""

BalancerMode = Literal["http", "tcp"]
"""What a balancer understands of the traffic."""

BalancerPolicy = Literal["round_robin", "least_connections"]
"""Which backend is next."""

BaseInput = Dict[str, Any]
"""Where an image starts."""

Batch = Union[int, str]
"""How many targets are changed at once: a count, or a share such as "25%"."""

BecomeMethod = Literal["sudo", "su"]
"""The program that changes the user."""

CheckProbe = Dict[str, Any]
"""What a check looks at. Ports are seen from the host, so that only its SSH port need be reachable.

Strings may hold `{{ name }}`, replaced by the host's variable of this name."""

ChefLicense = Literal["accept", "accept-silent", "accept-no-persist"]
"""How Chef's licence is accepted."""

ChefLogLevel = Literal["trace", "debug", "info", "warn", "error", "fatal"]
"""How much Chef logs."""

ChefMode = Literal["solo", "client"]
"""Which program runs."""

ChefPlan = Literal["none", "why_run"]
"""How a plan is made."""

DependsOn = Literal["started", "healthy", "completed"]
"""What is waited for of a container that comes first."""

Files = Literal["auto", "sftp", "shell"]
"""How files travel."""

Gathering = Literal["implicit", "explicit", "smart"]
"""Which plays gather facts."""

HostKeys = Literal["strict", "accept_new", "off"]
"""Which keys of hosts are trusted."""

LocalMode = Literal["auto", "namespace", "plain"]
"""How a local host is kept apart from this machine."""

MountKind = Literal["volume", "bind", "tmpfs"]
"""The kind of a mount."""

Observation = Dict[str, Any]
"""One thing that was seen."""

OnFailure = Literal["rollback", "stop"]
"""What happens when more targets fail than the budget allows."""

Order = Literal["inventory", "reverse", "name"]
"""In which order the targets take their turn."""

PackerOnError = Literal["cleanup", "abort", "run-cleanup-provisioner"]
"""What Packer does with a build that fails. Packer's `ask` is not offered, since nobody is there to answer."""

PackerPostProcessor = Dict[str, Any]
"""What becomes of a build's result."""

PackerProvisioner = Dict[str, Any]
"""What is done to each build."""

PackerReuse = Literal["recorded", "verified", "never"]
"""When artifacts made earlier from the same content are taken instead of building."""

PackerSource = Dict[str, Any]
"""What a build starts, and saves in the end: Packer's builders."""

PortSpec = Union[int, str]
"""A port, or the host variable that holds it."""

Pull = Literal["missing", "never"]
"""Whether an image that the engine does not have is pulled."""

Restart = Literal["no", "always", "unless-stopped", "on-failure"]
"""What the engine does when a container ends."""

SecretRef = Dict[str, Any]
"""Where a secret comes from. Resolved when it is used; the value is never stored."""

Severity = Literal["debug", "info", "warning", "error"]
"""How grave a record is."""

StepConfig = Dict[str, Any]
"""One step."""

Superseded = Literal["deploy", "skip"]
"""What happens to a release that was deployed here once, and that a later one has replaced."""

Timestamp = int
"""A moment of wall-clock time, in milliseconds since 1970-01-01 UTC."""


class Artifact(Data):
    """Something baked or built, that releases and hosts are made from.

    name: Its name, for example `web`.
    kind: What it is.
    id: Where it is: a path, an AMI id, an image reference.
    digest: Digest of its content, `sha256:<hex>`.
    provenance: Where it came from.
    """

    name: str
    kind: ArtifactKind
    id: str
    digest: str
    provenance: Provenance

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: Union[str, Ref],
            kind: Union[ArtifactKind, Ref],
            id: Union[str, Ref],
            digest: Union[str, Ref],
            provenance: Union[Provenance, Ref, None] = None,
        ) -> None: ...


class BecomeSpec(Data):
    """How a command becomes another user.

    user: The user; `root` by default.
    method: The way.
    password: Password that sudo or su asks for. Sent only after it has asked.
    flags: More arguments of sudo or su.
    """

    user: str
    method: BecomeMethod
    password: Optional[SecretRef]
    flags: List[str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            user: Union[str, Ref, None] = None,
            method: Union[BecomeMethod, Ref, None] = None,
            password: Union[SecretRef, Ref, None] = None,
            flags: Union[List[str], Ref, None] = None,
        ) -> None: ...


class Check(Data):
    """One check of a target.

    name: Its name in verdicts.
    probe: What is looked at.
    timeout_s: Longest time of one look, in seconds. `2` by default.
    """

    name: str
    probe: CheckProbe
    timeout_s: float

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: Union[str, Ref],
            probe: Union[CheckProbe, Ref],
            timeout_s: Union[float, Ref, None] = None,
        ) -> None: ...


class CheckResult(Data):
    """A check's result.

    check: The check.
    passed: Whether it passed.
    host: The host, if it is about one.
    detail: What was seen: `HTTP 500`, `connection refused`.
    """

    check: str
    passed: bool
    host: Optional[str]
    detail: str

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            check: Union[str, Ref],
            passed: Union[bool, Ref],
            host: Union[str, Ref, None] = None,
            detail: Union[str, Ref, None] = None,
        ) -> None: ...


class ConnectionSpec(Data):
    """How a host is reached. Keys outside the named ones belong to the connector and are checked by it.

    kind: The connector: `ssh` (default when empty), `local`, `docker`.
    address: Host name or address; the host's name if not given.
    port: Port; the connector's default if not given.
    user: User to log in as.
    password: Password for logging in.
    become: How a command becomes another user there, if it does by default.
    options: Settings of the connector, checked by it: `identity_file`, `known_hosts`, `host_key`, ...
    """

    kind: str
    address: Optional[str]
    port: Optional[int]
    user: Optional[str]
    password: Optional[SecretRef]
    become: Optional[BecomeSpec]
    options: Dict[str, Any]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            kind: Union[str, Ref, None] = None,
            address: Union[str, Ref, None] = None,
            port: Union[int, Ref, None] = None,
            user: Union[str, Ref, None] = None,
            password: Union[SecretRef, Ref, None] = None,
            become: Union[BecomeSpec, Ref, None] = None,
            options: Union[Dict[str, Any], Ref, None] = None,
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


class Environment(Data):
    """What a provisioner made: hosts, outputs and the resources behind them.

    name: Its name: `production`, `dev`, `default`.
    inventory: Its hosts.
    outputs: Typed outputs by name. A sensitive one is not here but named in `sensitive`.
    sensitive: Names of outputs whose values are secret and were left out.
    resources: Resources that `destroy` would remove, by the provider's own addresses.
    """

    name: str
    inventory: Inventory
    outputs: Dict[str, Any]
    sensitive: List[str]
    resources: List[Resource]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: Union[str, Ref],
            inventory: Union[Inventory, Ref],
            outputs: Union[Dict[str, Any], Ref, None] = None,
            sensitive: Union[List[str], Ref, None] = None,
            resources: Union[List[Resource], Ref, None] = None,
        ) -> None: ...


class Gate(Data):
    """A question to a monitor: are the targets well?

    checks: What is checked, on every target.
    rise: Consecutive passes of all checks on a target that make it healthy. `1` by default.
    fall: Consecutive failures on a target, after `start_period_s`, that make the gate fail. `3` by default.
    interval_s: Pause between samples, in seconds. `0.2` by default.
    start_period_s: Failures in this first time, in seconds, do not count. `0` by default.
    deadline_s: Longest time, in seconds; then the verdict is `inconclusive`. `30` by default.
    hold_s: Keep sampling for this long, in seconds, and pass only if no target fails in it: a bake time. `0`
        by default.
    """

    checks: List[Check]
    rise: int
    fall: int
    interval_s: float
    start_period_s: float
    deadline_s: float
    hold_s: float

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            checks: Union[List[Check], Ref],
            rise: Union[int, Ref, None] = None,
            fall: Union[int, Ref, None] = None,
            interval_s: Union[float, Ref, None] = None,
            start_period_s: Union[float, Ref, None] = None,
            deadline_s: Union[float, Ref, None] = None,
            hold_s: Union[float, Ref, None] = None,
        ) -> None: ...


class Group(Data):
    """A group of an inventory.

    hosts: Names of its hosts, in their order.
    children: Names of groups inside it.
    vars: Its variables.
    """

    hosts: List[str]
    children: List[str]
    vars: Dict[str, Any]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            hosts: Union[List[str], Ref, None] = None,
            children: Union[List[str], Ref, None] = None,
            vars: Union[Dict[str, Any], Ref, None] = None,
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


class Host(Data):
    """A machine: what it is called, how it is reached, what is known about it.

    name: Its name in inventories, plans and errors. Unique in an inventory.
    connection: How it is reached.
    labels: Labels, for selecting: `role=web`.
    vars: Variables, as playbooks see them.
    """

    name: str
    connection: ConnectionSpec
    labels: Dict[str, str]
    vars: Dict[str, Any]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: Union[str, Ref],
            connection: Union[ConnectionSpec, Ref, None] = None,
            labels: Union[Dict[str, str], Ref, None] = None,
            vars: Union[Dict[str, Any], Ref, None] = None,
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


class ImageInput(Data):
    """The input `image` of a `build_image` step.

    name: Its name: `web`.
    base: Where it starts.
    artifacts: The artifacts wanted.
    configure: What is done to the base, in this order.
    labels: Labels that go into the provenance.
    """

    name: str
    base: BaseInput
    artifacts: List[ArtifactKind]
    configure: List[ProviderRef]
    labels: Dict[str, str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: Union[str, Ref],
            base: Union[BaseInput, Ref],
            artifacts: Union[List[ArtifactKind], Ref],
            configure: Union[List[Union[ProviderRef, Config]], Ref, None] = None,
            labels: Union[Dict[str, str], Ref, None] = None,
        ) -> None: ...


class Inventory(Data):
    """Hosts and groups, with Ansible's semantics.

    hosts: All hosts, in their order.
    groups: Groups by name, in the order in which they were named first, as playbooks see them in `groups`.
        `all` and `ungrouped` are implied.
    vars: Variables of the group `all`.
    """

    hosts: List[Host]
    groups: Dict[str, Group]
    vars: Dict[str, Any]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            hosts: Union[List[Host], Ref, None] = None,
            groups: Union[Dict[str, Group], Ref, None] = None,
            vars: Union[Dict[str, Any], Ref, None] = None,
        ) -> None: ...


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


class LogFile(Data):
    """The input `files` of a `ship_logs` step: one file on every host.

    path: Its path on the host. `{{ name }}` is replaced by the host's variable. A file that is not there has
        no lines.
    source: The program or service that wrote it; the path if not given.
    """

    path: str
    source: str

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            path: Union[str, Ref],
            source: Union[str, Ref, None] = None,
        ) -> None: ...


class LogRecord(Data):
    """A line of a log.

    at: When it was written.
    message: The text.
    severity: How grave it is.
    host: The host.
    source: The program or service.
    fields: More fields.
    """

    at: Timestamp
    message: str
    severity: Severity
    host: Optional[str]
    source: str
    fields: Dict[str, Any]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            at: Union[Timestamp, Ref],
            message: Union[str, Ref],
            severity: Union[Severity, Ref, None] = None,
            host: Union[str, Ref, None] = None,
            source: Union[str, Ref, None] = None,
            fields: Union[Dict[str, Any], Ref, None] = None,
        ) -> None: ...


class Metric(Data):
    """A number at a moment.

    name: Its name: `requests.failed`.
    value: Its value.
    at: When; now if `0`.
    tags: Tags: `host=web-1`.
    """

    name: str
    value: float
    at: Timestamp
    tags: Dict[str, str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: Union[str, Ref],
            value: Union[float, Ref],
            at: Union[Timestamp, Ref, None] = None,
            tags: Union[Dict[str, str], Ref, None] = None,
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


class Notice(Data):
    """Something that happened: a deploy started, a host was replaced.

    title: One line.
    text: More.
    tags: Tags.
    """

    title: str
    text: str
    tags: Dict[str, str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            title: Union[str, Ref],
            text: Union[str, Ref, None] = None,
            tags: Union[Dict[str, str], Ref, None] = None,
        ) -> None: ...


class PackerDefinition(Data):
    """What Packer builds, and how: sources, what is done to each, and what becomes of the results.

    Options have Packer's own names. Their strings are Packer's templates: ``{{user `name`}}`` is a variable
    of `vars` or `secret_vars`, ``{{user `towpath_image`}}`` the image's name, ``{{user `towpath_base`}}`` its
    base. Options that are not listed here go into `extra`, as they stand in Packer's documentation.

    sources: What is started, and saved in the end. One build each; all of them go through the same
        provisioners.
    provisioners: What is done to each, in this order.
    post_processors: What becomes of each result: sequences, in each of which one's result is the next one's
        input.
    """

    sources: List[PackerSource]
    provisioners: List[PackerProvisioner]
    post_processors: List[List[PackerPostProcessor]]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            sources: Union[List[PackerSource], Ref],
            provisioners: Union[List[PackerProvisioner], Ref, None] = None,
            post_processors: Union[List[List[PackerPostProcessor]], Ref, None] = None,
        ) -> None: ...


class PackerSsh(Data):
    """How Packer reaches the machine of a build over SSH. Each becomes an option `ssh_<name>`.

    username: The user who logs in.
    password: The password: name a variable of `secret_vars`, as ``{{user `name`}}``.
    host: The address. Of most sources Packer finds it out by itself.
    port: The port. 22 by default.
    private_key_file: The private key.
    keypair_name: The cloud's name of the key pair that belongs to `private_key_file`.
    timeout: How long Packer waits until it answers: `5m`, as Go writes durations.
    """

    username: Optional[str]
    password: Optional[str]
    host: Optional[str]
    port: Optional[int]
    private_key_file: Optional[str]
    keypair_name: Optional[str]
    timeout: Optional[str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            username: Union[str, Ref, None] = None,
            password: Union[str, Ref, None] = None,
            host: Union[str, Ref, None] = None,
            port: Union[int, Ref, None] = None,
            private_key_file: Union[str, Ref, None] = None,
            keypair_name: Union[str, Ref, None] = None,
            timeout: Union[str, Ref, None] = None,
        ) -> None: ...


class Provenance(Data):
    """Where an artifact came from.

    content_key: Digest over everything it is made from. Equal keys give equal artifacts, so that a build can
        be skipped.
    base: The base: an image, a host.
    labels: More labels: playbook, commit.
    """

    content_key: str
    base: str
    labels: Dict[str, str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            content_key: Union[str, Ref, None] = None,
            base: Union[str, Ref, None] = None,
            labels: Union[Dict[str, str], Ref, None] = None,
        ) -> None: ...


class ProviderRef(Data):
    """A provider named inside an input: the balancer of a rollout, a configurator of an image.

    provider: Its name in the registry.
    config: Its config.
    """

    provider: str
    config: Any

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            provider: Union[str, Ref],
            config: Union[Any, Ref, None] = None,
        ) -> None: ...


class Release(Data):
    """A version of a service, and what to run.

    service: The service: `web`.
    version: The version: `v2`, a commit.
    artifact: What is shipped.
    env: Values that the deployer hands to the service: environment variables.
    """

    service: str
    version: str
    artifact: Optional[Artifact]
    env: Dict[str, str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            service: Union[str, Ref],
            version: Union[str, Ref],
            artifact: Union[Artifact, Ref, None] = None,
            env: Union[Dict[str, str], Ref, None] = None,
        ) -> None: ...


class Resource(Data):
    """Something that exists because a provisioner made it.

    address: Its address in the provider's own terms: `aws_instance.web[0]`, `host web-1`.
    id: Its id in the world: `i-0abc`, a pid.
    detail: More facts.
    """

    address: str
    id: str
    detail: Any

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            address: Union[str, Ref],
            id: Union[str, Ref],
            detail: Union[Any, Ref, None] = None,
        ) -> None: ...


class RetryPolicy(Data):
    """Tries again, waiting longer each time.

    attempts: Attempts in all, the first one included. `3` by default.
    wait_s: Seconds before the second attempt. `1` by default.
    factor: What each further wait is multiplied with. `2` by default.
    max_wait_s: Longest wait, in seconds. `60` by default.
    always: Also tries again after failures that come back until somebody changes something. No by default.
    """

    attempts: int
    wait_s: float
    factor: float
    max_wait_s: float
    always: bool

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            attempts: Union[int, Ref, None] = None,
            wait_s: Union[float, Ref, None] = None,
            factor: Union[float, Ref, None] = None,
            max_wait_s: Union[float, Ref, None] = None,
            always: Union[bool, Ref, None] = None,
        ) -> None: ...


class Rolling(Data):
    """How a release moves over the hosts: a batch at a time.

    For each target: drain at the balancer, wait until idle, activate, health gate, back to service; after
    each batch the watch. The release was staged on all targets before the first one was drained.

    batch: How many targets are changed at once: a count (`2`) or a share (`"25%"`, rounded down, at least
        one). `1` by default.
    order: In which order the targets take their turn.
    only: Only these hosts or groups of the inventory; all if empty.
    pause_s: Pause between two batches, in seconds. `0` by default.
    drain_limit_s: Longest wait for a drained target's connections to end, in seconds; what is left then is
        cut off, with a warning. `30` by default.
    activate_limit_s: Longest time of one activation, in seconds. `600` by default.
    failure_budget: How many targets may fail before the rollout has failed. They are left out of service and
        named in the report. `0` by default.
    health: What a changed target must pass before it serves again. Without it, the deployer's own look at the
        target counts. In its checks `{{ release_version }}` is the version that shall run, in a rollback the
        former one.
    watch: What a batch must pass while it serves again: give it a `hold_s`.
    on_failure: What happens when more targets fail than the budget allows.
    retry_refused: Tries a release again that was rolled back in this environment with the same content.
        `false` by default: it is refused.
    superseded: What happens to a release that was deployed here once, and that a later one has replaced.
    drain_lease_s: How long a drained target may stay out of service after this process died, in seconds: the
        end of the lease whose undo puts it back. `30` by default.
    balancer: The balancer that the targets are behind. By name, so that a dead process's drain can be undone
        by another one.
    backend_port: Port under which a target is added to the balancer that does not know it yet. Without it, a
        backend must be there for every target, named after its host.
    group: What a deployer that moves a whole group calls it; the service's name if not given.
    monitor: The monitor that judges `health` and `watch`.
    """

    batch: Batch
    order: Order
    only: List[str]
    pause_s: float
    drain_limit_s: float
    activate_limit_s: float
    failure_budget: int
    health: Optional[Gate]
    watch: Optional[Gate]
    on_failure: OnFailure
    retry_refused: bool
    superseded: Superseded
    drain_lease_s: float
    balancer: Optional[ProviderRef]
    backend_port: Optional[PortSpec]
    group: Optional[str]
    monitor: Optional[ProviderRef]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            batch: Union[Batch, Ref, None] = None,
            order: Union[Order, Ref, None] = None,
            only: Union[List[str], Ref, None] = None,
            pause_s: Union[float, Ref, None] = None,
            drain_limit_s: Union[float, Ref, None] = None,
            activate_limit_s: Union[float, Ref, None] = None,
            failure_budget: Union[int, Ref, None] = None,
            health: Union[Gate, Ref, None] = None,
            watch: Union[Gate, Ref, None] = None,
            on_failure: Union[OnFailure, Ref, None] = None,
            retry_refused: Union[bool, Ref, None] = None,
            superseded: Union[Superseded, Ref, None] = None,
            drain_lease_s: Union[float, Ref, None] = None,
            balancer: Union[Union[ProviderRef, Config], Ref, None] = None,
            backend_port: Union[PortSpec, Ref, None] = None,
            group: Union[str, Ref, None] = None,
            monitor: Union[Union[ProviderRef, Config], Ref, None] = None,
        ) -> None: ...


class RunConfig(Data):
    """A script, and what says whether it has to run.

    It runs if every guard that is given lets it. Without any guard it always runs, and a plan can't know what
    it changes.

    name: Its name in plans, events and errors. The file's name or the script's first line if not given.
    script: The script's text. Either this or `file`.
    file: The file with the script. Relative paths start at the pipeline file's folder.
    interpreter: The program that reads the script, with its own arguments. That of the script's `#!` line if
        not given, else `/bin/sh`.
    args: Arguments of the script. Others on the host can see them: no secrets.
    env: Environment variables.
    secret_env: Environment variables whose values are secret: resolved when the step runs, masked in all
        output.
    cwd: Working directory on the host, of guards too. The user's home if not given.
    become: Whom it becomes.
    timeout_s: Most seconds that it may take, and most that its guards may take. No limit if not given.
    creates: Does not run if this path exists. May be a shell pattern: `/opt/app-*/bin`.
    removes: Does not run if this path does not exist. May be a shell pattern.
    unless: Does not run if this shell command succeeds. A plan runs it too, so it must change nothing.
    only_if: Does not run if this shell command fails. A plan runs it too, so it must change nothing.
    if_changed: Does not run unless one of these steps before it has changed something on this host: a restart
        after a new configuration. Steps are meant by their `name`. As with a handler, a change of an earlier
        run that has failed since does not count.
    ok_statuses: Exit statuses that are no failure. `0` if not given.
    changed_when_status: Exit statuses that say that something was changed; they are no failures. Any success
        if not given; if empty, the script counts as changing nothing.
    fill: Replaces `{{ variable }}` in `args`, `env`, `cwd` and guards by the host's variables. Never in the
        script's text: give it what it needs as an argument or in its environment.
    sensitive: Shows nothing of its output.
    """

    name: Optional[str]
    script: Optional[str]
    file: Optional[str]
    interpreter: List[str]
    args: List[str]
    env: Dict[str, str]
    secret_env: Dict[str, SecretRef]
    cwd: Optional[str]
    become: Optional[BecomeChoice]
    timeout_s: Optional[int]
    creates: Optional[str]
    removes: Optional[str]
    unless: Optional[str]
    only_if: Optional[str]
    if_changed: List[str]
    ok_statuses: List[int]
    changed_when_status: Optional[List[int]]
    fill: bool
    sensitive: bool

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: Union[str, Ref, None] = None,
            script: Union[str, Ref, None] = None,
            file: Union[str, Ref, None] = None,
            interpreter: Union[List[str], Ref, None] = None,
            args: Union[List[str], Ref, None] = None,
            env: Union[Dict[str, str], Ref, None] = None,
            secret_env: Union[Dict[str, SecretRef], Ref, None] = None,
            cwd: Union[str, Ref, None] = None,
            become: Union[BecomeChoice, Ref, None] = None,
            timeout_s: Union[int, Ref, None] = None,
            creates: Union[str, Ref, None] = None,
            removes: Union[str, Ref, None] = None,
            unless: Union[str, Ref, None] = None,
            only_if: Union[str, Ref, None] = None,
            if_changed: Union[List[str], Ref, None] = None,
            ok_statuses: Union[List[int], Ref, None] = None,
            changed_when_status: Union[List[int], Ref, None] = None,
            fill: Union[bool, Ref, None] = None,
            sensitive: Union[bool, Ref, None] = None,
        ) -> None: ...


class Silence(Data):
    """Alarms to mute.

    reason: Why.
    for_s: When it ends by itself, in seconds from now.
    scope: What is muted: tags `host=web-1`; empty means everything.
    """

    reason: str
    for_s: int
    scope: Dict[str, str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            reason: Union[str, Ref],
            for_s: Union[int, Ref],
            scope: Union[Dict[str, str], Ref, None] = None,
        ) -> None: ...


class UploadConfig(Data):
    """Files to put on the host. They are compared by digest, so what is there already is left alone.

    path: Where it goes: the file's own absolute path, or the folder that gets the content of the source
        folder. Files there that the source does not have are left alone.
    name: Its name in plans, events and errors. `path` if not given.
    source: A file or folder of this machine. Relative paths start at the pipeline file's folder. One of
        `source`, `content` and `secret`.
    content: The content itself.
    secret: Content that is secret: resolved when it is used, never shown.
    owner: Owner by name or number. Left as it is if not given.
    group: Group by name or number. Left as it is if not given.
    mode: Permission bits of files in octal: `"0644"`. If not given a file that is there keeps its own, and a
        new one gets 0755 or 0644 for a file that is executable here or not, 0600 for `content` and `secret`.
    directory_mode: Permission bits of the folders that a source folder gives. `"0755"` for new ones if not
        given.
    parents: Makes the folder that `path` is in, with mode 0755, if it is missing.
    backup: Keeps a file that is replaced beside it, as `NAME.DIGEST~`.
    fill: Replaces `{{ variable }}` in the content and in `path` by the host's variables.
    sensitive: Shows nothing of the content in plans.
    become: Whom it becomes.
    """

    path: str
    name: Optional[str]
    source: Optional[str]
    content: Optional[str]
    secret: Optional[SecretRef]
    owner: Optional[str]
    group: Optional[str]
    mode: Optional[str]
    directory_mode: Optional[str]
    parents: bool
    backup: bool
    fill: bool
    sensitive: bool
    become: Optional[BecomeChoice]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            path: Union[str, Ref],
            name: Union[str, Ref, None] = None,
            source: Union[str, Ref, None] = None,
            content: Union[str, Ref, None] = None,
            secret: Union[SecretRef, Ref, None] = None,
            owner: Union[str, Ref, None] = None,
            group: Union[str, Ref, None] = None,
            mode: Union[str, Ref, None] = None,
            directory_mode: Union[str, Ref, None] = None,
            parents: Union[bool, Ref, None] = None,
            backup: Union[bool, Ref, None] = None,
            fill: Union[bool, Ref, None] = None,
            sensitive: Union[bool, Ref, None] = None,
            become: Union[BecomeChoice, Ref, None] = None,
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


BecomeChoice = Union[bool, BecomeSpec]
"""Whom commands on a host become: `true` for whom the host's connection names, else root through sudo; `false`
for the one who logs in; or a user of its own."""

__all__ = [
    "Artifact",
    "ArtifactKind",
    "BalancerMode",
    "BalancerPolicy",
    "BaseInput",
    "Batch",
    "BecomeChoice",
    "BecomeMethod",
    "BecomeSpec",
    "Check",
    "CheckProbe",
    "CheckResult",
    "ChefLicense",
    "ChefLogLevel",
    "ChefMode",
    "ChefPlan",
    "ConnectionSpec",
    "ContainerSpec",
    "DependsOn",
    "DockerfileConfig",
    "Environment",
    "Files",
    "Gate",
    "Gathering",
    "Group",
    "Healthcheck",
    "Host",
    "HostKeys",
    "HostsFrom",
    "ImageInput",
    "Inventory",
    "LocalBalancerConfig",
    "LocalMode",
    "LogFile",
    "LogRecord",
    "Metric",
    "MountKind",
    "MountSpec",
    "NetworkSpec",
    "Notice",
    "Observation",
    "OnFailure",
    "Order",
    "PackerDefinition",
    "PackerOnError",
    "PackerPostProcessor",
    "PackerProvisioner",
    "PackerReuse",
    "PackerSource",
    "PackerSsh",
    "PortSpec",
    "Provenance",
    "ProviderRef",
    "Pull",
    "Release",
    "Resource",
    "Restart",
    "RetryPolicy",
    "Rolling",
    "RunConfig",
    "SecretRef",
    "Severity",
    "Silence",
    "StepConfig",
    "Superseded",
    "Timestamp",
    "UploadConfig",
    "VolumeSpec",
]
