"""Shell scripts and uploaded files, with guards."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Union

from ._data import Config, Data, Ref
from .vocabulary import BecomeChoice, SecretRef

StepConfig = Dict[str, Any]
"""One step."""


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
    creates: Does not run if this path exists. May be a shell pattern: `/opt/app-*/bin`. A relative one starts
        at the working directory.
    removes: Does not run if this path does not exist. May be a shell pattern. A relative one starts at the
        working directory.
    unless: Does not run if this shell command succeeds. A plan runs it too, so it must change nothing.
    only_if: Does not run if this shell command fails. A plan runs it too, so it must change nothing.
    if_changed: Does not run unless one of these steps before it has changed something on this host: a restart
        after a new configuration. Steps are meant by their `name`. As with a handler, a change of an earlier
        run that has failed since does not count.
    ok_statuses: Exit statuses that are no failure. `0` if not given.
    changed_when_status: Exit statuses that say that something was changed; they are no failures. Any success
        if not given; if empty, the script counts as changing nothing. A plan promises nothing about the steps
        after it all the same, unless a guard keeps it from running.
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
    backup: Keeps a file that is replaced beside it, as `NAME.~1~`, `NAME.~2~` and so on.
    fill: Replaces `{{ variable }}` in the content and in `path` by the host's variables.
    sensitive: Shows nothing of the content in plans, not even its digest.
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


class Script(Config):
    """Settings of the `script` configurator: what is done on every host, in this order.

    steps: The steps. A failing one ends the work on its host; other hosts go on.
    become: Whom steps become that do not say it themselves. As the host's connection says if not given.
    forks: How many hosts are worked on at the same time. `50` by default.
    """

    role = "configurator"
    provider = "script"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            steps: Union[List[StepConfig], Ref],
            become: Union[BecomeChoice, Ref, None] = None,
            forks: Union[int, Ref, None] = None,
        ) -> None: ...


__all__ = [
    "RunConfig",
    "Script",
    "StepConfig",
    "UploadConfig",
]
