"""chef-solo and chef-client on the hosts."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Literal, Union

from ._data import Config, Ref

if TYPE_CHECKING:
    from .vocabulary import BecomeChoice, SecretRef

ChefLicense = Literal["accept", "accept-silent", "accept-no-persist"]
"""How Chef's licence is accepted."""

ChefLogLevel = Literal["trace", "debug", "info", "warn", "error", "fatal"]
"""How much Chef logs."""

ChefMode = Literal["solo", "client"]
"""Which program runs."""

ChefPlan = Literal["none", "why_run"]
"""How a plan is made."""


class Chef(Config):
    """Settings of the `chef` configurator: one run of Chef on every host.

    mode: `solo` (default): cookbooks from here, no server. `client`: everything from a Chef server.
    cookbook_paths: Folders of cookbooks on this machine, for `solo`. Relative paths start at the pipeline
        file's folder.
    remote_cookbook_paths: Folders of cookbooks that are on the host already, for `solo`. They come first.
    roles_path: Folder of roles on this machine, for `solo`.
    data_bags_path: Folder of data bags on this machine, for `solo`.
    environments_path: Folder of environments on this machine, for `solo`.
    environment: The environment. With `solo` it needs `environments_path`.
    run_list: What to run, in this order: `recipe[nginx::tls]`, `role[web]`, `nginx`. Replaces a `run_list` in
        `attributes`.
    attributes: Attributes of the node.
    secret_attributes: Attributes whose values are secret, by their path: `db.password`. Resolved for the run,
        and masked in all output.
    chef_command: The program and its first arguments. `chef-solo` or `chef-client` if not given, searched for
        on the host: in `PATH`, then where the packages of Chef and Cinc have it.
    server_url: The Chef server's URL, for `client`.
    validation_client_name: The client that registers new nodes, for `client`. `chef-validator` if not given.
    validation_key: The key of that client. It is on the host only during the run.
    client_key: Where the node's own key is, and where registering writes it, for `client`. Chef's own place
        if not given (`/etc/chef/client.pem`).
    node_name: The node's name, for a single host. For `client` the host's name if not given; for `solo` what
        Chef finds.
    encrypted_data_bag_secret: The secret of encrypted data bags. It is on the host only during the run.
    log_level: How much Chef logs.
    chef_license: Accepts Chef's licence, in its own words. Nothing is accepted if not given; newer versions
        of Chef then stop and ask.
    extra_arguments: More arguments for Chef, after those that are always given. Others on the host can see
        them.
    staging_directory: The folder on the host that gets everything. A new one below `/tmp/towpath-chef-UID` if
        not given, removed after the run whatever happens. One that is given stays, so that only what has
        changed is sent next time; secrets in it are removed.
    become: Whom Chef becomes. As the host's connection says if not given; `true` for root, which most
        cookbooks need.
    plan: How a plan is made.
    timeout_s: Most seconds that Chef may take. No limit if not given.
    forks: How many hosts are worked on at the same time. `50` by default.
    """

    role = "configurator"
    provider = "chef"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            mode: Union[ChefMode, Ref, None] = None,
            cookbook_paths: Union[List[str], Ref, None] = None,
            remote_cookbook_paths: Union[List[str], Ref, None] = None,
            roles_path: Union[str, Ref, None] = None,
            data_bags_path: Union[str, Ref, None] = None,
            environments_path: Union[str, Ref, None] = None,
            environment: Union[str, Ref, None] = None,
            run_list: Union[List[str], Ref, None] = None,
            attributes: Union[Dict[str, Any], Ref, None] = None,
            secret_attributes: Union[Dict[str, SecretRef], Ref, None] = None,
            chef_command: Union[List[str], Ref, None] = None,
            server_url: Union[str, Ref, None] = None,
            validation_client_name: Union[str, Ref, None] = None,
            validation_key: Union[SecretRef, Ref, None] = None,
            client_key: Union[str, Ref, None] = None,
            node_name: Union[str, Ref, None] = None,
            encrypted_data_bag_secret: Union[SecretRef, Ref, None] = None,
            log_level: Union[ChefLogLevel, Ref, None] = None,
            chef_license: Union[ChefLicense, Ref, None] = None,
            extra_arguments: Union[List[str], Ref, None] = None,
            staging_directory: Union[str, Ref, None] = None,
            become: Union[BecomeChoice, Ref, None] = None,
            plan: Union[ChefPlan, Ref, None] = None,
            timeout_s: Union[int, Ref, None] = None,
            forks: Union[int, Ref, None] = None,
        ) -> None: ...


__all__ = [
    "Chef",
    "ChefLicense",
    "ChefLogLevel",
    "ChefMode",
    "ChefPlan",
]
