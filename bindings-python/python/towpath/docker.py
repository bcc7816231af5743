"""Containers, images and development environments through the Docker Engine."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List, Union

from ._data import Config, Ref

if TYPE_CHECKING:
    from .vocabulary import ContainerSpec, DockerfileConfig, NetworkSpec, Pull, VolumeSpec


class DockerEnvironment(Config):
    """Settings of the provisioner `docker`: the containers, networks and volumes of a development environment.

    host: Where the engine listens: `unix:///path` or `tcp://host:port` (without TLS). `DOCKER_HOST` by
        default, else `unix:///var/run/docker.sock`.
    compose: A Compose file whose services, networks and volumes are part of the environment. Of Compose the
        common subset is understood; anything else is refused by name.
    containers: Containers by name, beside those of the Compose file.
    networks: Networks by name. Containers that name none share one called `default`.
    volumes: Volumes by name. They keep their data when a container is replaced; `destroy` removes them.
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


__all__ = ["DockerConnector", "DockerEnvironment", "DockerImage"]
