"""Packer, the real program."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Literal, Optional, Union

from ._data import Config, Data, Ref

if TYPE_CHECKING:
    from .vocabulary import SecretRef

PackerOnError = Literal["cleanup", "abort", "run-cleanup-provisioner"]
"""What Packer does with a build that fails. Packer's `ask` is not offered, since nobody is there to answer."""

PackerPostProcessor = Dict[str, Any]
"""What becomes of a build's result."""

PackerProvisioner = Dict[str, Any]
"""What is done to each build."""

PackerReuse = Literal["recorded", "verified", "never"]
"""When artifacts made earlier from the same content are taken instead of building."""

PackerSource = Dict[str, Any]
"""What a build starts, and saves in the end: Packer's builders."""


class PackerDefinition(Data):
    """What Packer builds, and how: sources, what is done to each, and what becomes of the results.

    Options have Packer's own names. Their strings are Packer's templates: ``{{user `name`}}`` is a variable
    of `vars` or `secret_vars`, ``{{user `towpath_image`}}`` the image's name, ``{{user `towpath_base`}}`` its
    base. Options that are not listed here go into `extra`, as they stand in Packer's documentation.

    sources: What is started, and saved in the end. One build each; all of them go through the same
        provisioners.
    provisioners: What is done to each, in this order.
    post_processors: What becomes of each result: sequences, in each of which one's result is the next one's
        input.
    """

    sources: List[PackerSource]
    provisioners: List[PackerProvisioner]
    post_processors: List[List[PackerPostProcessor]]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            sources: Union[List[PackerSource], Ref],
            provisioners: Union[List[PackerProvisioner], Ref, None] = None,
            post_processors: Union[List[List[PackerPostProcessor]], Ref, None] = None,
        ) -> None: ...


class PackerSsh(Data):
    """How Packer reaches the machine of a build over SSH. Each becomes an option `ssh_<name>`.

    username: The user who logs in.
    password: The password: name a variable of `secret_vars`, as ``{{user `name`}}``.
    host: The address. Of most sources Packer finds it out by itself.
    port: The port. 22 by default.
    private_key_file: The private key.
    keypair_name: The cloud's name of the key pair that belongs to `private_key_file`.
    timeout: How long Packer waits until it answers: `5m`, as Go writes durations.
    """

    username: Optional[str]
    password: Optional[str]
    host: Optional[str]
    port: Optional[int]
    private_key_file: Optional[str]
    keypair_name: Optional[str]
    timeout: Optional[str]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            username: Union[str, Ref, None] = None,
            password: Union[str, Ref, None] = None,
            host: Union[str, Ref, None] = None,
            port: Union[int, Ref, None] = None,
            private_key_file: Union[str, Ref, None] = None,
            keypair_name: Union[str, Ref, None] = None,
            timeout: Union[str, Ref, None] = None,
        ) -> None: ...


class Packer(Config):
    """Settings of the image builder `packer`: either a `template` of yours, or a `definition` that a template is
    made of.

    Relative paths start at the folder of the pipeline file; those inside of a template start where Packer
    runs, `working_dir`.

    template: A template that is run unmodified: a JSON file, an HCL2 file (`.pkr.hcl`, `.pkr.json`), or a
        folder of the latter.
    definition: What to build, from which a JSON template is made.
    vars: Variables of the template. For HCL2 of any JSON type; for JSON templates and definitions text,
        numbers and booleans, which become text. They go through a private file, never through the command
        line.
    secret_vars: Variables whose values are secret: resolved when Packer runs, masked in all output, written
        only to a file that is private and removed afterwards. The values are not part of the content key, so
        another value alone builds nothing anew.
    var_files: Files of variables (`-var-file`), in this order; `vars` come last and win.
    name_var: The template's variable that gets the image's name. A definition has `towpath_image` for it.
    base_var: The template's variable that gets the image's base, as a reference. A definition has
        `towpath_base` for it.
    only: Only these builds of the template (`-only`).
    except_: All builds and post-processors but these (`-except`).
    on_error: What Packer does with a build that fails (`-on-error`). `cleanup` by default.
    force: Removes what a build finds in its way (`-force`): an output folder, an AMI of the same name.
        `false` by default.
    parallel_builds: How many builds run at once (`-parallel-builds`). No limit by default.
    working_dir: Where Packer runs, and where the relative paths of templates and artifacts start. The
        pipeline file's folder by default.
    program: The program. `packer`, searched in `PATH`, by default.
    env: More environment variables for Packer and what it starts. No secrets: name those in `secret_vars`.
    init: Runs `packer init` first where an HCL2 template has `required_plugins`, which downloads those that
        are missing. Packer 1.7 and later. `true` by default.
    key_files: More files and folders that the content key covers: those that a template names through
        variables only. Relative paths start at `working_dir`, as those of templates.
    reuse: When artifacts made earlier from the same content are taken instead of building. `recorded` by
        default.
    state_dir: Folder of the records of what was built, made with mode 0700. `.towpath/packer` by default.
    cancel_grace_s: How long Packer may clean up after a cancel, in seconds, before it is killed. `300` by
        default.
    """

    role = "image_builder"
    provider = "packer"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            template: Union[str, Ref, None] = None,
            definition: Union[PackerDefinition, Ref, None] = None,
            vars: Union[Dict[str, Any], Ref, None] = None,
            secret_vars: Union[Dict[str, SecretRef], Ref, None] = None,
            var_files: Union[List[str], Ref, None] = None,
            name_var: Union[str, Ref, None] = None,
            base_var: Union[str, Ref, None] = None,
            only: Union[List[str], Ref, None] = None,
            except_: Union[List[str], Ref, None] = None,
            on_error: Union[PackerOnError, Ref, None] = None,
            force: Union[bool, Ref, None] = None,
            parallel_builds: Union[int, Ref, None] = None,
            working_dir: Union[str, Ref, None] = None,
            program: Union[str, Ref, None] = None,
            env: Union[Dict[str, str], Ref, None] = None,
            init: Union[bool, Ref, None] = None,
            key_files: Union[List[str], Ref, None] = None,
            reuse: Union[PackerReuse, Ref, None] = None,
            state_dir: Union[str, Ref, None] = None,
            cancel_grace_s: Union[int, Ref, None] = None,
        ) -> None: ...


__all__ = [
    "Packer",
    "PackerDefinition",
    "PackerOnError",
    "PackerPostProcessor",
    "PackerProvisioner",
    "PackerReuse",
    "PackerSource",
    "PackerSsh",
]
