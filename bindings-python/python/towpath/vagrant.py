"""Vagrant machines by the real program, and boxes without it."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List, Literal, Optional, Union

from ._data import Config, Data, Ref

if TYPE_CHECKING:
    from .vocabulary import BecomeSpec, SecretRef

VagrantBoxProvider = Literal["libvirt", "docker"]
"""A provider of Vagrant that boxes are made for."""


class VagrantBoxSource(Data):
    """A box, and the catalogue that offers it.

    name: The box's name, as its catalogue says it.
    catalogue: The catalogue: a path, or a URL. Vagrant checks the box against the checksum in it.
    version: The version. By default the newest, if none of this name is there yet.
    """

    name: str
    catalogue: str
    version: Optional[str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: Union[str, Ref],
            catalogue: Union[str, Ref],
            version: Union[str, Ref, None] = None,
        ) -> None: ...


class VagrantDocker(Data):
    """A machine that is a container.

    image: The image. The one that the box names by default.
    cmd: The command and its arguments. The image's by default.
    env: Environment variables of the container. No secrets: they stand in the Vagrantfile.
    has_ssh: It runs an SSH server that accepts Vagrant's key, so it is a host that can be reached. `false` by
        default: then it is a resource only.
    """

    image: Optional[str]
    cmd: List[str]
    env: Dict[str, str]
    has_ssh: bool

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            image: Union[str, Ref, None] = None,
            cmd: Union[List[str], Ref, None] = None,
            env: Union[Dict[str, str], Ref, None] = None,
            has_ssh: Union[bool, Ref, None] = None,
        ) -> None: ...


class VagrantForwardedPort(Data):
    """A port of a machine.

    guest: The port in the machine.
    host: The port on 127.0.0.1 of this machine. Another one is taken if it is in use.
    """

    guest: int
    host: int

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            guest: Union[int, Ref],
            host: Union[int, Ref],
        ) -> None: ...


class VagrantMachine(Data):
    """A machine.

    box: The box that it is made from (`config.vm.box`).
    box_version: The version of the box, or a constraint: `~> 1.0`. Any by default.
    hostname: Its host name. The box's by default.
    ssh_user: Who logs in. `vagrant` by default.
    ports: Ports of the machine that are reached on this one.
    folders: Folders of this machine that it sees. None by default, Vagrant's own `/vagrant` neither.
    memory_mib: Memory in MiB, for `libvirt` and `virtualbox`. The box's by default.
    cpus: Processors, for `libvirt` and `virtualbox`. The box's by default.
    docker: How it is with the provider `docker`.
    """

    box: Optional[str]
    box_version: Optional[str]
    hostname: Optional[str]
    ssh_user: Optional[str]
    ports: List[VagrantForwardedPort]
    folders: List[VagrantSharedFolder]
    memory_mib: Optional[int]
    cpus: Optional[int]
    docker: Optional[VagrantDocker]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            box: Union[str, Ref, None] = None,
            box_version: Union[str, Ref, None] = None,
            hostname: Union[str, Ref, None] = None,
            ssh_user: Union[str, Ref, None] = None,
            ports: Union[List[VagrantForwardedPort], Ref, None] = None,
            folders: Union[List[VagrantSharedFolder], Ref, None] = None,
            memory_mib: Union[int, Ref, None] = None,
            cpus: Union[int, Ref, None] = None,
            docker: Union[VagrantDocker, Ref, None] = None,
        ) -> None: ...


class VagrantSharedFolder(Data):
    """A folder that a machine sees.

    host: The folder on this machine.
    guest: The absolute path in the machine.
    """

    host: str
    guest: str

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            host: Union[str, Ref],
            guest: Union[str, Ref],
        ) -> None: ...


class Vagrant(Config):
    """Settings of the provisioner `vagrant`: either a `dir` with a Vagrantfile of yours, or `machines` that one
    is made of.

    Relative paths start at the folder of the pipeline file.

    dir: A folder with a Vagrantfile, which is run unmodified. It is one environment, whatever the run's
        environment is called.
    only: Only these machines of `dir`. All by default, those with `autostart: false` too.
    machines: The machines by name, from which a Vagrantfile is made.
    state_dir: Where the Vagrantfile of `machines` is kept: a folder in it for each environment.
        `.towpath/vagrant` by default.
    provider: The Vagrant provider (`--provider`): `docker`, `libvirt`, `virtualbox`. Vagrant's own choice by
        default.
    boxes: Boxes that are added from catalogues before the machines start. They stay when the machines are
        destroyed.
    provision: Runs the Vagrantfile's own provisioners at `up`. `true` by default; `false` (`--no-provision`)
        leaves it to later steps.
    home: Vagrant's own folder of boxes and plugins (`VAGRANT_HOME`). `~/.vagrant.d` by default.
    program: The program. `vagrant`, searched in `PATH`, by default.
    env: More environment variables for Vagrant and what it starts. No secrets: name those in `secret_env`.
    secret_env: Environment variables whose values are secret: resolved when Vagrant runs, masked in all
        output.
    interrupt_s: How long Vagrant may take to stop after a cancel, in seconds. It is never killed: then a
        machine would be left that it does not know. `300` by default.
    """

    role = "provisioner"
    provider = "vagrant"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            dir: Union[str, Ref, None] = None,
            only: Union[List[str], Ref, None] = None,
            machines: Union[Dict[str, VagrantMachine], Ref, None] = None,
            state_dir: Union[str, Ref, None] = None,
            provider: Union[str, Ref, None] = None,
            boxes: Union[List[VagrantBoxSource], Ref, None] = None,
            provision: Union[bool, Ref, None] = None,
            home: Union[str, Ref, None] = None,
            program: Union[str, Ref, None] = None,
            env: Union[Dict[str, str], Ref, None] = None,
            secret_env: Union[Dict[str, SecretRef], Ref, None] = None,
            interrupt_s: Union[int, Ref, None] = None,
        ) -> None: ...


class VagrantBox(Config):
    """Settings of the image builder `vagrant-box`: Vagrant boxes with a catalogue.

    dir: Folder of the boxes and their catalogues, one folder for each image, made with mode 0700.
        `.towpath/boxes` by default.
    provider: The Vagrant provider that the box is for. `libvirt` by default.
    box_name: The box's name in the catalogue, as `config.vm.box` names it: `acme/web`. The image's name by
        default.
    description: What the box is, for people who read the catalogue.
    version: The version, `major.minor.patch`. A version that the catalogue has with another content is
        refused. By default the one after the newest of the catalogue (its patch counted up), `1.0.0` in an
        empty one.
    url: Where the boxes of this image are fetched from, if the folder is copied or served: a URL without the
        file's name. `file://` and the folder by default.
    disk_gib: Size of the disk in GiB. It is sparse: the box holds only what is in use. `20` by default. The
        disk can't be grown later, so leave room.
    vagrant_user: Adds the user `vagrant` with the key that everybody knows and sudo without a password, as
        Vagrant expects it in a box. Vagrant replaces the key at the first `up`; until then **everybody who
        reaches the machine is root on it**. `true` by default.
    exclude: What is left out beside what belongs to a running system only: absolute paths, each with all
        below it.
    source_date_epoch_s: Latest time of a file, in seconds since 1970: a later one becomes this one, so that
        the same tree gives the same disk whenever it was written. `1735689600` (2025-01-01) by default.
    max_bytes: Most bytes that a tree may have. `17179869184` (16 GiB) by default.
    become: The user who reads the tree: it must be root to see all of it. The one of the host's `become` by
        default, else the one who logs in.
    """

    role = "image_builder"
    provider = "vagrant-box"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            dir: Union[str, Ref, None] = None,
            provider: Union[VagrantBoxProvider, Ref, None] = None,
            box_name: Union[str, Ref, None] = None,
            description: Union[str, Ref, None] = None,
            version: Union[str, Ref, None] = None,
            url: Union[str, Ref, None] = None,
            disk_gib: Union[int, Ref, None] = None,
            vagrant_user: Union[bool, Ref, None] = None,
            exclude: Union[List[str], Ref, None] = None,
            source_date_epoch_s: Union[int, Ref, None] = None,
            max_bytes: Union[int, Ref, None] = None,
            become: Union[BecomeSpec, Ref, None] = None,
        ) -> None: ...


__all__ = [
    "Vagrant",
    "VagrantBox",
    "VagrantBoxProvider",
    "VagrantBoxSource",
    "VagrantDocker",
    "VagrantForwardedPort",
    "VagrantMachine",
    "VagrantSharedFolder",
]
