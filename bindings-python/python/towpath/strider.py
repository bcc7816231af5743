"""Strider CD: a job of its server for each release."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Union

from ._data import Config, Ref

if TYPE_CHECKING:
    from .vocabulary import SecretRef

EarlierVersion = Literal["refuse", "run_head"]
"""What happens where an earlier version is asked for on a branch that all versions share."""

JobType = Literal["TEST_ONLY", "TEST_AND_DEPLOY"]
"""What a job does."""

Live = Literal["auto", "socket_io", "polling"]
"""How a job is followed."""

VersionIs = Literal["label", "commit"]
"""What a release's version is."""


class Strider(Config):
    """Settings of the deployer `strider`: a project of a Strider server, one job for each release.

    url: Where the server is: `https://ci.example.com`. Plain `http://` is taken for this machine only
        (`localhost`, `127.0.0.1`), unless `allow_http` says so: the password would travel in clear.
    user: The user's e-mail address.
    password: The user's password: where it comes from. Resolved when it is used; never stored, logged or part
        of an error.
    project: The project: `organisation/repository`.
    allow_http: Takes plain `http://` to other machines, too. `false` by default.
    ca_file: File with certificates (PEM) of authorities to trust beside those of the system: for a server
        with a certificate of your own.
    branch: The branch that a job runs. `{version}` stands for the release's, `{environment}` for the
        environment's name, `{group}` for the group's (the service's, unless the rollout has a `group` of its
        own). Strider runs the head of a branch and nothing else, so a branch for each version
        (`release-{version}`) is what makes a way back possible; see `earlier_version`.
    job: What a job does. `TEST_AND_DEPLOY` by default.
    version_is: What a release's version is. `label` by default.
    earlier_version: What happens where an earlier version is asked for, and `branch` is the same for all
        versions. `refuse` by default.
    message: What is shown as the job's message, in front of what towpath finds it again by. `{version}`,
        `{service}` and `{environment}` stand for the release's.
    live: How a job is followed. `auto` by default.
    start_deadline_s: Longest time between the start of a job and the moment when Strider runs it, in seconds.
        `300` by default. A job that waits longer is cancelled, as far as Strider can, and counts as failed.
    cancel_deadline_s: Longest wait for the end of a job that was cancelled, in seconds. `45` by default.
    outage_s: How long the server may be away while a job is followed, in seconds. `300` by default.
    timeout_s: Longest wait for one answer, in seconds. `30` by default. Strider never answers some requests
        at all.
    poll_ms: Milliseconds between two looks at a job that is polled. `1000` by default.
    """

    role = "deployer"
    provider = "strider"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            url: Union[str, Ref],
            user: Union[str, Ref],
            password: Union[SecretRef, Ref],
            project: Union[str, Ref],
            allow_http: Union[bool, Ref, None] = None,
            ca_file: Union[str, Ref, None] = None,
            branch: Union[str, Ref, None] = None,
            job: Union[JobType, Ref, None] = None,
            version_is: Union[VersionIs, Ref, None] = None,
            earlier_version: Union[EarlierVersion, Ref, None] = None,
            message: Union[str, Ref, None] = None,
            live: Union[Live, Ref, None] = None,
            start_deadline_s: Union[int, Ref, None] = None,
            cancel_deadline_s: Union[int, Ref, None] = None,
            outage_s: Union[int, Ref, None] = None,
            timeout_s: Union[int, Ref, None] = None,
            poll_ms: Union[int, Ref, None] = None,
        ) -> None: ...


__all__ = [
    "EarlierVersion",
    "JobType",
    "Live",
    "Strider",
    "VersionIs",
]
