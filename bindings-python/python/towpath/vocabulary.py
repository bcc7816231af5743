"""What configs and inputs are made of."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Literal, Optional, Union

from ._data import Config, Data, Ref

ArtifactKind = Literal["ami", "vagrant_box", "docker_image", "disk", "archive", "file"]
"""The kind of thing that an image builder makes."""

BaseInput = Dict[str, Any]
"""Where an image starts."""

Batch = Union[int, str]
"""How many targets are changed at once: a count, or a share such as "25%"."""

BecomeMethod = Literal["sudo", "su"]
"""The program that changes the user."""

CheckProbe = Dict[str, Any]
"""What a check looks at. Ports are seen from the host, so that only its SSH port need be reachable.

Strings may hold `{{ name }}`, replaced by the host's variable of this name."""

Observation = Dict[str, Any]
"""One thing that was seen."""

OnFailure = Literal["rollback", "stop"]
"""What happens when more targets fail than the budget allows."""

Order = Literal["inventory", "reverse", "name"]
"""In which order the targets take their turn."""

PortSpec = Union[int, str]
"""A port, or the host variable that holds it."""

SecretRef = Dict[str, Any]
"""Where a secret comes from. Resolved when it is used; the value is never stored."""

Severity = Literal["debug", "info", "warning", "error"]
"""How grave a record is."""

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


BecomeChoice = Union[bool, BecomeSpec]
"""Whom commands on a host become: `true` for whom the host's connection names, else root through sudo; `false`
for the one who logs in; or a user of its own."""


__all__ = [
    "Artifact",
    "ArtifactKind",
    "BaseInput",
    "Batch",
    "BecomeChoice",
    "BecomeMethod",
    "BecomeSpec",
    "Check",
    "CheckProbe",
    "CheckResult",
    "ConnectionSpec",
    "Environment",
    "Gate",
    "Group",
    "Host",
    "ImageInput",
    "Inventory",
    "LogFile",
    "LogRecord",
    "Metric",
    "Notice",
    "Observation",
    "OnFailure",
    "Order",
    "PortSpec",
    "Provenance",
    "ProviderRef",
    "Release",
    "Resource",
    "RetryPolicy",
    "Rolling",
    "SecretRef",
    "Severity",
    "Silence",
    "Superseded",
    "Timestamp",
]
