"""Playbooks, run natively."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Literal, Union

from ._data import Config, Ref

if TYPE_CHECKING:
    from .vocabulary import SecretRef

Gathering = Literal["implicit", "explicit", "smart"]
"""Which plays gather facts."""


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
    check: Changes nothing, and says what would change: check mode. Tasks run, and each module foresees its
        change.
    diff: Shows texts before and after a change in results.
    start_at_task: Leaves out all tasks before the one of this name, which may be a pattern.
    force_handlers: Runs handlers on hosts that failed, too, where a play says nothing else.
    gathering: Which plays that say nothing themselves gather facts.
    strategy: The strategy of plays that name none: `linear`, `free` or `host_pinned`.
    any_errors_fatal: A failure on one host ends the play for all, where the playbook says nothing else.
    no_log: Hides results where the playbook says nothing else.
    task_timeout: Most seconds of an action where the playbook says nothing else; `0` for any time.
    ansible_managed: The variable `ansible_managed` of templates; `Ansible managed` if not given. `{file}`,
        `{host}` and `{uid}` stand for the template, this machine and the template's owner. Times (`%Y`) are
        refused: with them a file would change without a reason.
    verbosity: How much is told, for the variable `ansible_verbosity`. From 0 to 6.
    become: Becomes another user where the playbook and the inventory say nothing else.
    become_user: Whom to become by default; `root` if not given.
    become_method: How to become another user by default: `sudo` or `su`.
    become_password: The password that sudo or su asks for, where the inventory has none. Resolved when it is
        used.
    remote_user: Whom to log in as, where inventory and playbook say nothing else.
    inventory_sources: Where the inventory was read from, for the variables `inventory_file`, `inventory_dir`
        and `ansible_inventory_sources`.
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
            check: Union[bool, Ref, None] = None,
            diff: Union[bool, Ref, None] = None,
            start_at_task: Union[str, Ref, None] = None,
            force_handlers: Union[bool, Ref, None] = None,
            gathering: Union[Gathering, Ref, None] = None,
            strategy: Union[str, Ref, None] = None,
            any_errors_fatal: Union[bool, Ref, None] = None,
            no_log: Union[bool, Ref, None] = None,
            task_timeout: Union[int, Ref, None] = None,
            ansible_managed: Union[str, Ref, None] = None,
            verbosity: Union[int, Ref, None] = None,
            become: Union[bool, Ref, None] = None,
            become_user: Union[str, Ref, None] = None,
            become_method: Union[str, Ref, None] = None,
            become_password: Union[SecretRef, Ref, None] = None,
            remote_user: Union[str, Ref, None] = None,
            inventory_sources: Union[List[str], Ref, None] = None,
        ) -> None: ...


__all__ = [
    "Gathering",
    "Inventory",
    "Playbook",
]
