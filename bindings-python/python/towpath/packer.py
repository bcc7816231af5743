"""Packer, the real program."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Union

from ._data import Config, Ref

if TYPE_CHECKING:
    from .vocabulary import PackerDefinition, PackerOnError, PackerReuse, SecretRef


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


__all__ = ["Packer"]
