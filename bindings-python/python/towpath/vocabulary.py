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

DeploymentOutcome = Literal["running", "deployed", "rolled_back", "failed", "cancelled"]
"""How far a deployment came."""

HookRun = Dict[str, Any]
"""What a hook runs."""

Observation = Dict[str, Any]
"""One thing that was seen."""

OnFailure = Literal["rollback", "stop"]
"""What happens when more targets fail than the budget allows."""

Order = Literal["inventory", "reverse", "name"]
"""In which order the targets take their turn."""

Phase = Literal["rollout", "stage", "drain", "activate", "health", "serve", "switch", "rollback"]
"""A part of a rollout."""

PortSpec = Union[int, str]
"""A port, or the host variable that holds it."""

RolloutOutcome = Literal["deployed", "unchanged", "superseded", "refused", "rolled_back", "failed", "cancelled"]
"""How a rollout ended."""

SecretRef = Dict[str, Any]
"""Where a secret comes from. Resolved when it is used; the value is never stored."""

Severity = Literal["debug", "info", "warning", "error"]
"""How grave a record is."""

Superseded = Literal["deploy", "skip"]
"""What happens to a release that was deployed here once, and that a later one has replaced."""

TargetOutcome = Literal["untouched", "unchanged", "updated", "rolled_back", "failed", "retired"]
"""What happened to a target."""

Then = Literal["fail", "stop", "ask", "proceed"]
"""What an answer leads to."""

Timestamp = int
"""A moment of wall-clock time, in milliseconds since 1970-01-01 UTC."""

When = Literal["before", "after"]
"""Before or after."""


class Approval(Data):
    """A question that somebody must answer before the rollout goes on. A no, and no answer in time, end it: what
    was changed goes back.

    It can always be answered by `towpath rollout SERVICE approve` or `refuse` and by
    `RolloutControl::answer`(crate::rollout::RolloutControl::answer), whatever else is named here. The first
    answer counts.

    question: What is asked: `5xx below 1 % on the canary?`.
    file: A file of this machine whose first word is the answer, once it is there: `yes` or `no`, and then who
        says so.
    function: A registered function that is asked, with `question`, `service` and `version` as inputs: Rust,
        or Python's `module:qualname`. Its outputs are `granted` (a bool) and `by`; without `granted` it is
        asked again later.
    command: A command on this machine that is asked every few seconds until the first word of its output is
        `yes` or `no`, and then who says so; anything else, and a failure, is no answer yet. `[curl, -fsS,
        "https://chat.example.com/deploys/web"]` asks a web service. In its environment are `TOWPATH_SERVICE`,
        `TOWPATH_VERSION`, `TOWPATH_ENVIRONMENT`, `TOWPATH_QUESTION` and `TOWPATH_ASKED_AT`, milliseconds
        since 1970 that tell one question from the next.
    limit_s: Longest wait for an answer, in seconds. `3600` by default.
    """

    question: str
    file: Optional[str]
    function: Optional[str]
    command: List[str]
    limit_s: float

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            question: Union[str, Ref],
            file: Union[str, Ref, None] = None,
            function: Union[str, Ref, None] = None,
            command: Union[List[str], Ref, None] = None,
            limit_s: Union[float, Ref, None] = None,
        ) -> None: ...


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


class BlueGreen(Data):
    """Two groups of hosts that take turns: the one that gets no requests is changed and checked as a whole, then
    the balancer sends everything there. The other one keeps the former release, so that going back is a
    switch and nothing else.

    Which group is live is what the balancer says; where none is, the release goes to the first one.

    groups: The two groups of the inventory, without a host in common.
    approval: Asked when the new group is healthy, before the switch.
    stop_old: Stops the former release after the switch has proved good. `false` by default: it keeps running
        without requests.
    """

    groups: List[str]
    approval: Optional[Approval]
    stop_old: bool

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            groups: Union[List[str], Ref],
            approval: Union[Approval, Ref, None] = None,
            stop_old: Union[bool, Ref, None] = None,
        ) -> None: ...


class CanaryStep(Data):
    """One step of a canary: so many targets, and then a time in which they prove themselves under real requests.

    targets: How many targets run the release when this step is over: a count or a share of all, more than in
        the step before.
    bake: What all targets that were changed so far must pass before the next step. Its `hold_s` is the bake
        time.
    approval: Asked once they have passed.
    """

    targets: Batch
    bake: Optional[Gate]
    approval: Optional[Approval]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            targets: Union[Batch, Ref],
            bake: Union[Gate, Ref, None] = None,
            approval: Union[Approval, Ref, None] = None,
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


class Deployment(Data):
    """What became of a release in one environment. The ledger of a service is a list of these, oldest first.

    environment: The environment.
    release: The release.
    outcome: How far it came.
    seen_healthy: Whether all its targets passed their health checks while serving. Only such a release is
        rolled back to.
    run: The run that did it.
    started_at: When it was started.
    targets: What runs on each target after it, by host name.
    finished_at: When it ended.
    reason: Why it was refused or rolled back.
    detail: More facts of the deployer.
    """

    environment: str
    release: Release
    outcome: DeploymentOutcome
    seen_healthy: bool
    run: str
    started_at: Timestamp
    targets: Dict[str, str]
    finished_at: Optional[Timestamp]
    reason: Optional[str]
    detail: Any

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            environment: Union[str, Ref],
            release: Union[Release, Ref],
            outcome: Union[DeploymentOutcome, Ref],
            seen_healthy: Union[bool, Ref],
            run: Union[str, Ref],
            started_at: Union[Timestamp, Ref],
            targets: Union[Dict[str, str], Ref, None] = None,
            finished_at: Union[Timestamp, Ref, None] = None,
            reason: Union[str, Ref, None] = None,
            detail: Union[Any, Ref, None] = None,
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


class Hook(Data):
    """Something of one's own before or after a phase of a rollout: a migration, a warm-up, a message to the
    team.

    It must bear to be run again: after a crash in the middle it is. A hook that fails makes the rollout fail
    where it is: before `rollout` and `stage` nothing was touched yet, around a target's phase that target has
    failed. When the rollout goes back, the `undo` of every hook that was begun is run, the last one first,
    after the targets run the former release.

    when: Before or after.
    phase: The phase.
    run: What is run.
    undo: What takes it back.
    limit_s: Longest time of one run, in seconds. `600` by default.
    """

    when: When
    phase: Phase
    run: HookRun
    undo: Optional[HookRun]
    limit_s: float

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            when: Union[When, Ref],
            phase: Union[Phase, Ref],
            run: Union[HookRun, Ref],
            undo: Union[HookRun, Ref, None] = None,
            limit_s: Union[float, Ref, None] = None,
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


class OpenQuestion(Data):
    """A question of a rollout.

    key: Which one.
    text: What is asked.
    """

    key: str
    text: str

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            key: Union[str, Ref],
            text: Union[str, Ref],
        ) -> None: ...


class Policy(Data):
    """What is done about one kind of answer.

    then: What happens in the end.
    again_s: How long the gate is asked again before that, in seconds. `0` by default: its first answer
        counts.
    ask_limit_s: With `ask`: longest wait for somebody's word, in seconds; then it is a no. `3600` by default.
    """

    then: Then
    again_s: float
    ask_limit_s: Optional[float]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            then: Union[Then, Ref, None] = None,
            again_s: Union[float, Ref, None] = None,
            ask_limit_s: Union[float, Ref, None] = None,
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
    serve_limit_s: Longest wait until the balancer has a target back in service, its own checks included, in
        seconds. `300` by default.
    canary: The first targets in steps, each with a bake time, before the others move in batches. None by
        default.
    blue_green: Two groups of hosts that take turns, instead of batches.
    max_unavailable: How many targets may be out of service at once, those that failed or were out before
        included: a count, or a share rounded down to at least one. A batch that would take more out is made
        smaller. Without it, `batch` alone counts.
    min_healthy: How many targets must be in service at any time: a count, or a share rounded up. A batch that
        would leave less is made smaller; if not even one target may be taken out, the rollout fails there.
    rollback_batch: How many targets go back at once; as `batch` if not given.
    failure_budget: How many targets may fail before the rollout has failed. They are left out of service and
        named in the report. `0` by default.
    health: What a changed target must pass before it serves again. Without it, the deployer's own look at the
        target counts. In its checks `{{ release_version }}` is the version that shall run, in a rollback the
        former one.
    watch: What a batch must pass while it serves again: give it a `hold_s`.
    verdicts: What an answer of `health`, `watch` or a canary's `bake` other than `pass` leads to.
    approval: Asked after the release was staged, before the first target is touched.
    hooks: What is run before and after phases, in this order.
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
    serve_limit_s: float
    canary: List[CanaryStep]
    blue_green: Optional[BlueGreen]
    max_unavailable: Optional[Batch]
    min_healthy: Optional[Batch]
    rollback_batch: Optional[Batch]
    failure_budget: int
    health: Optional[Gate]
    watch: Optional[Gate]
    verdicts: Verdicts
    approval: Optional[Approval]
    hooks: List[Hook]
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
            serve_limit_s: Union[float, Ref, None] = None,
            canary: Union[List[CanaryStep], Ref, None] = None,
            blue_green: Union[BlueGreen, Ref, None] = None,
            max_unavailable: Union[Batch, Ref, None] = None,
            min_healthy: Union[Batch, Ref, None] = None,
            rollback_batch: Union[Batch, Ref, None] = None,
            failure_budget: Union[int, Ref, None] = None,
            health: Union[Gate, Ref, None] = None,
            watch: Union[Gate, Ref, None] = None,
            verdicts: Union[Verdicts, Ref, None] = None,
            approval: Union[Approval, Ref, None] = None,
            hooks: Union[List[Hook], Ref, None] = None,
            on_failure: Union[OnFailure, Ref, None] = None,
            retry_refused: Union[bool, Ref, None] = None,
            superseded: Union[Superseded, Ref, None] = None,
            drain_lease_s: Union[float, Ref, None] = None,
            balancer: Union[Union[ProviderRef, Config], Ref, None] = None,
            backend_port: Union[PortSpec, Ref, None] = None,
            group: Union[str, Ref, None] = None,
            monitor: Union[Union[ProviderRef, Config], Ref, None] = None,
        ) -> None: ...


class RolloutReport(Data):
    """What a rollout came to. A release that was rolled back is an outcome, not an error.

    outcome: How it ended.
    service: The service.
    to: The version that was to run.
    targets: Every target, in the order in which they took their turn.
    from_: The version that ran on all targets before; `None`: none, or several.
    reason: Why it was refused, rolled back or failed: one sentence.
    seconds: Wall-clock seconds per phase: `stage`, `roll` (with `pause`, `watch` and `bake` in it),
        `rollback`, `total`. Only of the process that ended the rollout.
    """

    outcome: RolloutOutcome
    service: str
    to: str
    targets: List[TargetReport]
    from_: Optional[str]
    reason: Optional[str]
    seconds: Dict[str, float]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            outcome: Union[RolloutOutcome, Ref],
            service: Union[str, Ref],
            to: Union[str, Ref],
            targets: Union[List[TargetReport], Ref],
            from_: Union[str, Ref, None] = None,
            reason: Union[str, Ref, None] = None,
            seconds: Union[Dict[str, float], Ref, None] = None,
        ) -> None: ...


class RolloutStatus(Data):
    """How far a rollout is.

    id: Tells it from the service's other rollouts.
    version: The version that it rolls out.
    phase: What it does: `rolling`, `paused`, `asking`, `rolling back`.
    done: Targets that run the release.
    total: Targets in all.
    owner: Who does it: `pid 4711`.
    at: Since when this is so.
    from_: The version that ran on all targets before; `None`: none, or several.
    questions: What it asks, where it waits for an answer; the first one is answered first.
    """

    id: str
    version: str
    phase: str
    done: int
    total: int
    owner: str
    at: Timestamp
    from_: Optional[str]
    questions: List[OpenQuestion]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            id: Union[str, Ref],
            version: Union[str, Ref],
            phase: Union[str, Ref],
            done: Union[int, Ref],
            total: Union[int, Ref],
            owner: Union[str, Ref],
            at: Union[Timestamp, Ref],
            from_: Union[str, Ref, None] = None,
            questions: Union[List[OpenQuestion], Ref, None] = None,
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


class TargetReport(Data):
    """What became of one target.

    host: The host.
    state: What happened to it.
    before: The version that ran before.
    version: The version that it is left with, as far as known.
    in_service: Whether it gets requests; `None`: there is no balancer.
    reason: Why it failed.
    cut_off: Connections that were cut off since they did not end within the drain limit.
    seconds: Wall-clock seconds per phase: `drain`, `activate`, `health`, `serve`; those of the rollback are
        `rollback`.
    """

    host: str
    state: TargetOutcome
    before: Optional[str]
    version: Optional[str]
    in_service: Optional[bool]
    reason: Optional[str]
    cut_off: int
    seconds: Dict[str, float]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            host: Union[str, Ref],
            state: Union[TargetOutcome, Ref],
            before: Union[str, Ref, None] = None,
            version: Union[str, Ref, None] = None,
            in_service: Union[bool, Ref, None] = None,
            reason: Union[str, Ref, None] = None,
            cut_off: Union[int, Ref, None] = None,
            seconds: Union[Dict[str, float], Ref, None] = None,
        ) -> None: ...


class Verdicts(Data):
    """What an answer of a gate other than `pass` leads to. By default each of them makes the target, or the
    batch, fail.

    fail: Something is not well.
    inconclusive: The gate's time was over before it was clear.
    error: The check itself could not be made: the monitor does not answer.
    """

    fail: Policy
    inconclusive: Policy
    error: Policy

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            fail: Union[Policy, Ref, None] = None,
            inconclusive: Union[Policy, Ref, None] = None,
            error: Union[Policy, Ref, None] = None,
        ) -> None: ...


BecomeChoice = Union[bool, BecomeSpec]
"""Whom commands on a host become: `true` for whom the host's connection names, else root through sudo; `false`
for the one who logs in; or a user of its own."""


__all__ = [
    "Approval",
    "Artifact",
    "ArtifactKind",
    "BaseInput",
    "Batch",
    "BecomeChoice",
    "BecomeMethod",
    "BecomeSpec",
    "BlueGreen",
    "CanaryStep",
    "Check",
    "CheckProbe",
    "CheckResult",
    "ConnectionSpec",
    "Deployment",
    "DeploymentOutcome",
    "Environment",
    "Gate",
    "Group",
    "Hook",
    "HookRun",
    "Host",
    "ImageInput",
    "Inventory",
    "LogFile",
    "LogRecord",
    "Metric",
    "Notice",
    "Observation",
    "OnFailure",
    "OpenQuestion",
    "Order",
    "Phase",
    "Policy",
    "PortSpec",
    "Provenance",
    "ProviderRef",
    "Release",
    "Resource",
    "RetryPolicy",
    "Rolling",
    "RolloutOutcome",
    "RolloutReport",
    "RolloutStatus",
    "SecretRef",
    "Severity",
    "Silence",
    "Superseded",
    "TargetOutcome",
    "TargetReport",
    "Then",
    "Timestamp",
    "Verdicts",
    "When",
]
