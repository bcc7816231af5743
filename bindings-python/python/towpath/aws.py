"""Amazon Web Services: EC2 instances, AMIs, launch templates, Auto Scaling, target groups."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Literal, Optional, Union

from ._data import Config, Data, Ref
from .vocabulary import ConnectionSpec, SecretRef

Address = Literal["auto", "public", "private"]
"""By which address a host is reached."""

Protected = Literal["refresh", "ignore", "wait"]
"""Instances that are protected from scaling in."""

Replacement = Dict[str, Any]
"""How a group's instances are replaced."""

ScalingProcess = Literal["alarm_notification", "scheduled_actions", "az_rebalance", "replace_unhealthy", "health_check", "instance_refresh"]
"""A process of Auto Scaling that can be suspended, but for those that a replacement needs (`Launch`,
`Terminate`, `AddToLoadBalancer`)."""

Standby = Literal["terminate", "ignore", "wait"]
"""Instances in standby."""

UserData = Dict[str, Any]
"""What an instance gets at its first start: a script, or a file for cloud-init. At most 16 KiB.

It never appears in events, errors or the journal, but who may describe the instance can read it, and so can
any program on it."""


class ClientConfig(Data):
    """How AWS is reached. What is not given comes from where the AWS tools look, too: `AWS_*` variables,
    `~/.aws`, SSO, and the metadata of the instance that this runs on.

    region: The region: `eu-central-1`.
    profile: The profile in `~/.aws/config`.
    credentials: Credentials from elsewhere: a vault, a file. Better none here, and those that AWS's own tools
        find.
    endpoint_url: Another endpoint for every service, as `https://...`: a private one, a proxy, a server for
        tests.
    max_attempts: Attempts of a request that is throttled or gets no answer, with growing pauses. 5 by
        default.
    request_timeout_s: Longest time of one attempt, in seconds. 60 by default.
    """

    region: Optional[str]
    profile: Optional[str]
    credentials: Optional[CredentialsConfig]
    endpoint_url: Optional[str]
    max_attempts: Optional[int]
    request_timeout_s: Optional[int]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            region: Union[str, Ref, None] = None,
            profile: Union[str, Ref, None] = None,
            credentials: Union[CredentialsConfig, Ref, None] = None,
            endpoint_url: Union[str, Ref, None] = None,
            max_attempts: Union[int, Ref, None] = None,
            request_timeout_s: Union[int, Ref, None] = None,
        ) -> None: ...


class CredentialsConfig(Data):
    """Credentials that are not where AWS's own tools look. Read once, when they are needed first.

    access_key_id: The id of the access key.
    secret_access_key: The secret key.
    session_token: The token of a session.
    """

    access_key_id: SecretRef
    secret_access_key: SecretRef
    session_token: Optional[SecretRef]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            access_key_id: Union[SecretRef, Ref],
            secret_access_key: Union[SecretRef, Ref],
            session_token: Union[SecretRef, Ref, None] = None,
        ) -> None: ...


class HostGroup(Data):
    """Hosts that are made alike.

    ami: The AMI: `ami-0abc`; `ssm:/PARAMETER`; or `OWNER/NAME-*` for the newest one of this name, OWNER being
        an account of 12 digits, `self`, `amazon` or `aws-marketplace`.
    count: How many there are. 1 by default.
    instance: What the instances are.
    follow_ami: Replaces an instance when its AMI's name means another AMI than it did when the instance was
        made. Without it only a change of the name counts.
    address: By which address a host is reached.
    connection: How hosts are reached: user, options of the connector. An `address` here goes before the
        instance's own; like text in `options` it may hold `{{ instance_id }}`, `{{ private_ip }}`, `{{
        public_ip }}` and `{{ region }}`.
    wait_for_status: Also waits until AWS's status checks are well.
    tags: More tags of its instances and volumes.
    labels: Labels of the hosts.
    vars: Variables of the hosts.
    """

    ami: str
    count: int
    instance: InstanceConfig
    follow_ami: bool
    address: Address
    connection: ConnectionSpec
    wait_for_status: bool
    tags: Dict[str, str]
    labels: Dict[str, str]
    vars: Dict[str, Any]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            ami: Union[str, Ref],
            count: Union[int, Ref, None] = None,
            instance: Union[InstanceConfig, Ref, None] = None,
            follow_ami: Union[bool, Ref, None] = None,
            address: Union[Address, Ref, None] = None,
            connection: Union[ConnectionSpec, Ref, None] = None,
            wait_for_status: Union[bool, Ref, None] = None,
            tags: Union[Dict[str, str], Ref, None] = None,
            labels: Union[Dict[str, str], Ref, None] = None,
            vars: Union[Dict[str, Any], Ref, None] = None,
        ) -> None: ...


class InstanceConfig(Data):
    """Settings of an EC2 instance.

    instance_type: The instance type.
    subnets: Subnets to try in this order: the next one when AWS has no capacity. The default VPC's if not
        given.
    security_groups: Ids of security groups.
    key_name: Name of a key pair that is in the account.
    instance_profile: Name of an IAM instance profile.
    public_ip: Whether it gets a public address. As the subnet says if not given; else exactly one subnet is
        needed.
    user_data: What it gets at its first start.
    root_volume: The root volume, where it is to differ from the AMI's.
    spot: A spot instance: cheaper, and AWS may end it.
    imds_v1: Also answers metadata requests without a session token (IMDSv1), which any program that can be
        made to fetch a URL reads.
    imds_hop_limit: How many network hops metadata answers travel; 2 lets containers read them. 1 by default.
    """

    instance_type: str
    subnets: List[str]
    security_groups: List[str]
    key_name: Optional[str]
    instance_profile: Optional[str]
    public_ip: Optional[bool]
    user_data: Optional[UserData]
    root_volume: Optional[RootVolume]
    spot: Optional[Spot]
    imds_v1: bool
    imds_hop_limit: Optional[int]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            instance_type: Union[str, Ref, None] = None,
            subnets: Union[List[str], Ref, None] = None,
            security_groups: Union[List[str], Ref, None] = None,
            key_name: Union[str, Ref, None] = None,
            instance_profile: Union[str, Ref, None] = None,
            public_ip: Union[bool, Ref, None] = None,
            user_data: Union[UserData, Ref, None] = None,
            root_volume: Union[RootVolume, Ref, None] = None,
            spot: Union[Spot, Ref, None] = None,
            imds_v1: Union[bool, Ref, None] = None,
            imds_hop_limit: Union[int, Ref, None] = None,
        ) -> None: ...


class LaunchTemplateConfig(Data):
    """A launch template that gets a baked AMI as its new version.

    name: Its name. It is made if there is none; else the new version takes over what its default version
        says, and only what stands here differs.
    make_default: Makes the new version the default one. Yes by default.
    instance_type: The instance type.
    key_name: Name of a key pair that is in the account.
    security_groups: Ids of security groups.
    instance_profile: Name of an IAM instance profile.
    """

    name: str
    make_default: bool
    instance_type: Optional[str]
    key_name: Optional[str]
    security_groups: List[str]
    instance_profile: Optional[str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: Union[str, Ref],
            make_default: Union[bool, Ref, None] = None,
            instance_type: Union[str, Ref, None] = None,
            key_name: Union[str, Ref, None] = None,
            security_groups: Union[List[str], Ref, None] = None,
            instance_profile: Union[str, Ref, None] = None,
        ) -> None: ...


class Patience(Data):
    """How long is waited for AWS, and how often it is asked.

    timeout_s: Longest wait for one thing (an instance that runs, an AMI that is available), in seconds. 600
        by default, 3600 for AMIs.
    poll_ms: Milliseconds between two questions. 3000 by default.
    """

    timeout_s: Optional[int]
    poll_ms: Optional[int]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            timeout_s: Union[int, Ref, None] = None,
            poll_ms: Union[int, Ref, None] = None,
        ) -> None: ...


class RefreshConfig(Data):
    """Settings of an instance refresh. Source: "RefreshPreferences" in the Auto Scaling API reference.

    min_healthy_percent: How much of the desired capacity stays in service, in percent. 100 by default: new
        instances come before old ones go.
    max_healthy_percent: How much more than the desired capacity there may be, in percent: 100 to 200, and at
        most 100 above `min_healthy_percent`. 110 by default.
    warmup_s: Seconds until a new instance counts as warmed up; the group's own setting if not given.
    checkpoints: Pauses when so many percent are replaced: rising, the last one 100. None by default.
    checkpoint_delay_s: Length of these pauses, in seconds. 3600 by default.
    bake_s: Wait after the last instance, in seconds, in which an alarm still makes it fail. 0 by default.
    alarms: CloudWatch alarms that make it fail.
    protected: What happens to instances that are protected from scaling in. AWS waits for up to an hour, by
        default.
    standby: What happens to instances in standby. AWS waits for up to an hour, by default.
    """

    min_healthy_percent: int
    max_healthy_percent: int
    warmup_s: Optional[int]
    checkpoints: List[int]
    checkpoint_delay_s: Optional[int]
    bake_s: int
    alarms: List[str]
    protected: Optional[Protected]
    standby: Optional[Standby]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            min_healthy_percent: Union[int, Ref, None] = None,
            max_healthy_percent: Union[int, Ref, None] = None,
            warmup_s: Union[int, Ref, None] = None,
            checkpoints: Union[List[int], Ref, None] = None,
            checkpoint_delay_s: Union[int, Ref, None] = None,
            bake_s: Union[int, Ref, None] = None,
            alarms: Union[List[str], Ref, None] = None,
            protected: Union[Protected, Ref, None] = None,
            standby: Union[Standby, Ref, None] = None,
        ) -> None: ...


class RollingConfig(Data):
    """Settings of a replacement by towpath.

    batch: How many instances are replaced at once. 1 by default.
    surge: Starts new instances before it ends old ones, so that no capacity is lost; the group's maximum must
        leave room for a batch. Yes by default. `false`: a batch is missing meanwhile.
    limit_s: Longest wait for one batch to be in service, in seconds. 900 by default.
    """

    batch: int
    surge: bool
    limit_s: int

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            batch: Union[int, Ref, None] = None,
            surge: Union[bool, Ref, None] = None,
            limit_s: Union[int, Ref, None] = None,
        ) -> None: ...


class RootVolume(Data):
    """A root volume. It is deleted with its instance.

    size_gib: Its size in GiB; the AMI's if not given.
    volume_type: Its type: `gp3`.
    encrypted: Whether it is encrypted; as the account says if not given.
    kms_key_id: The key that it is encrypted with; the account's default if not given.
    """

    size_gib: Optional[int]
    volume_type: Optional[str]
    encrypted: Optional[bool]
    kms_key_id: Optional[str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            size_gib: Union[int, Ref, None] = None,
            volume_type: Union[str, Ref, None] = None,
            encrypted: Union[bool, Ref, None] = None,
            kms_key_id: Union[str, Ref, None] = None,
        ) -> None: ...


class Spot(Data):
    """A one-time spot request; the instance is terminated when AWS takes it back.

    max_price: Highest price per hour in dollars, as text: `0.05`. The on-demand price if not given.
    """

    max_price: Optional[str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            max_price: Union[str, Ref, None] = None,
        ) -> None: ...


class TestCommand(Data):
    """A script that must succeed on an instance started from the new AMI.

    script: The script, for `/bin/sh`.
    name: What it tests, for events and errors; the script's first line if not given.
    root: Runs it as root, by sudo without a password.
    timeout_s: Seconds that it may take. 300 by default.
    """

    script: str
    name: Optional[str]
    root: bool
    timeout_s: Optional[int]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            script: Union[str, Ref],
            name: Union[str, Ref, None] = None,
            root: Union[bool, Ref, None] = None,
            timeout_s: Union[int, Ref, None] = None,
        ) -> None: ...


class AwsEnvironment(Config):
    """Settings of the provisioner `aws`: EC2 instances as hosts.

    groups: Hosts by group. The hosts of the group `web` are called `web-1`, `web-2`, ...
    client: How AWS is reached.
    owner: Tells environments of the same name in one account apart: the tag `towpath:owner`. `towpath` by
        default.
    tags: Tags of all instances and volumes. A change of tags is made in place.
    wait: How long is waited for an instance.
    """

    role = "provisioner"
    provider = "aws"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            groups: Union[Dict[str, HostGroup], Ref],
            client: Union[ClientConfig, Ref, None] = None,
            owner: Union[str, Ref, None] = None,
            tags: Union[Dict[str, str], Ref, None] = None,
            wait: Union[Patience, Ref, None] = None,
        ) -> None: ...


class AwsImage(Config):
    """Settings of the image builder `aws`: AMIs.

    client: How AWS is reached. The AMI is made in its region.
    instance: The temporary instance. Without `key_name`, and without a key or password in `connection`, it
        gets a key pair of its own, and without `security_groups` a group of its own; both are removed
        afterwards, and the key is taken out of the image.
    ssh_from: Who may reach the temporary instance on port 22: addresses as `203.0.113.7/32`. Needed unless
        `security_groups` are given.
    address: By which address the temporary instance is reached.
    connection: How the temporary instance is reached: user, options of the connector. As in the provisioner
        `aws`, an `address` here goes before the instance's own. Without `host_key`, `host_keys` or
        `known_hosts` among the options, the host's key is read from the instance's console, where cloud-init
        prints it.
    ssh_timeout_s: Longest wait until the instance lets one log in, in seconds. 300 by default.
    groups: Groups that the baked host is in, as playbooks see them.
    ami_name: Name of the AMI; `{name}` is the image's name, `{key}` the beginning of its content key.
        `{name}-{key}` by default.
    description: Description of the AMI.
    tags: Tags of the AMI and its snapshots, beside those that tell where it came from. A change makes no new
        AMI.
    test: What must succeed on an instance started from the new AMI, before anybody may use that.
    copy_to: Regions that get a copy.
    share_with: Accounts, by their 12 digits, that may start the AMI and its copies.
    launch_template: A launch template that gets the AMI as its new version.
    wait: How long is waited for instances and AMIs.
    stale_after_s: Age in seconds at which temporary resources of a build on another machine count as left
        over. 6 hours by default; builds on this machine are known by their processes.
    """

    role = "image_builder"
    provider = "aws"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            client: Union[ClientConfig, Ref, None] = None,
            instance: Union[InstanceConfig, Ref, None] = None,
            ssh_from: Union[List[str], Ref, None] = None,
            address: Union[Address, Ref, None] = None,
            connection: Union[ConnectionSpec, Ref, None] = None,
            ssh_timeout_s: Union[int, Ref, None] = None,
            groups: Union[List[str], Ref, None] = None,
            ami_name: Union[str, Ref, None] = None,
            description: Union[str, Ref, None] = None,
            tags: Union[Dict[str, str], Ref, None] = None,
            test: Union[List[TestCommand], Ref, None] = None,
            copy_to: Union[List[str], Ref, None] = None,
            share_with: Union[List[str], Ref, None] = None,
            launch_template: Union[LaunchTemplateConfig, Ref, None] = None,
            wait: Union[Patience, Ref, None] = None,
            stale_after_s: Union[int, Ref, None] = None,
        ) -> None: ...


class AwsAutoScaling(Config):
    """Settings of the deployer `aws`: releases are AMIs, and reach the instances of an Auto Scaling group. The
    rollout's `group` names it; the service's name if not given.

    client: How AWS is reached.
    how: How instances are replaced. By an instance refresh that loses no capacity, by default.
    suspend: What Auto Scaling must not do meanwhile. Always resumed, after a crash, too. What is suspended
        already stays so. `[alarm_notification, scheduled_actions, az_rebalance]` by default.
    wait: How often AWS is asked, and how long the whole move may take: 7200 s by default. A move that takes
        longer is cancelled.
    """

    role = "deployer"
    provider = "aws"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            client: Union[ClientConfig, Ref, None] = None,
            how: Union[Replacement, Ref, None] = None,
            suspend: Union[List[ScalingProcess], Ref, None] = None,
            wait: Union[Patience, Ref, None] = None,
        ) -> None: ...


class AwsTargetGroup(Config):
    """Settings of the balancer `aws`: a target group of an Application or Network Load Balancer.

    target_group: The target group: its name or its ARN.
    client: How AWS is reached.
    targets: Which target a host is: `web-1: i-0abc`, or its address in a group of addresses. A host that is
        not named here is the instance whose tag `towpath:host` or `Name` is its name.
    wait: How often AWS is asked, and how long a target may take until the load balancer's checks call it
        healthy: 300 s by default.
    """

    role = "balancer"
    provider = "aws"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            target_group: Union[str, Ref],
            client: Union[ClientConfig, Ref, None] = None,
            targets: Union[Dict[str, str], Ref, None] = None,
            wait: Union[Patience, Ref, None] = None,
        ) -> None: ...


__all__ = [
    "Address",
    "AwsAutoScaling",
    "AwsEnvironment",
    "AwsImage",
    "AwsTargetGroup",
    "ClientConfig",
    "CredentialsConfig",
    "HostGroup",
    "InstanceConfig",
    "LaunchTemplateConfig",
    "Patience",
    "Protected",
    "RefreshConfig",
    "Replacement",
    "RollingConfig",
    "RootVolume",
    "ScalingProcess",
    "Spot",
    "Standby",
    "TestCommand",
    "UserData",
]
