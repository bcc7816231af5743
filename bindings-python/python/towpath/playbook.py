"""Playbooks, run natively."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Union

from ._data import Config, Ref


class Inventory(Config):
    """Settings of the provisioner `inventory`: hosts that exist already, from an Ansible inventory.

    file: The inventory, as `load_inventory` reads it. Relative paths start at the pipeline file's folder.
    defaults: Variables of all hosts where the inventory does not say otherwise.
    """

    role = "provisioner"
    provider = "inventory"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            file: Union[str, Ref],
            defaults: Union[Dict[str, Any], Ref, None] = None,
        ) -> None: ...


class Playbook(Config):
    """Settings of the `playbook` configurator.

    file: The playbook. Relative paths start at the pipeline file's folder.
    extra_vars: Variables with the highest precedence.
    roles_path: More folders of roles, after `roles` beside the playbook.
    tags: Only tasks with one of these tags; all if empty.
    skip_tags: No tasks with one of these tags.
    forks: How many hosts are worked on at the same time. `50` by default.
    """

    role = "configurator"
    provider = "playbook"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            file: Union[str, Ref],
            extra_vars: Union[Dict[str, Any], Ref, None] = None,
            roles_path: Union[List[str], Ref, None] = None,
            tags: Union[List[str], Ref, None] = None,
            skip_tags: Union[List[str], Ref, None] = None,
            forks: Union[int, Ref, None] = None,
        ) -> None: ...


__all__ = ["Inventory", "Playbook"]
