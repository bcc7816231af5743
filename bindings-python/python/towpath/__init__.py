"""The deployment pipeline as a library: provision, configure, bake, roll out, monitor, log.

The same verbs as the Rust crate ``towpath``, which does all the work. ``towpath.aio`` has them as coroutines.
"""

import os as _os
import sys as _sys
import typing as _typing

from . import _towpath

# Guardians, hosts and balancers of `towpath.local` are this interpreter started again as `python -m towpath`; then `-m` stands there
# while the package is imported. They need nothing of what follows.
if _sys.executable:
    _towpath.install_launcher(_sys.executable, ["-m", "towpath"])
if {"TOWPATH_LOCAL_ROLE", "TOWPATH_GUARDIAN"} & set(_os.environ) and _sys.argv[:1] == ["-m"]:
    _os._exit(_towpath.main(["towpath"]))

from . import (
    aws,
    chef,
    docker,
    exceptions,
    haproxy,
    local,
    nginx,
    packer,
    pipeline,
    playbook,
    script,
    ssh,
    strider,
    strider_tools,
    terraform,
    types,
    vagrant,
    vocabulary,
)
from ._classes import Provider, provider
from ._data import Config, Data, Output, Param
from ._play import Play, play
from ._steps import StepContext, Unchanged, step, unchanged
from ._towpath import Cancel, Guardian, Store
from .connection import Connection, ExecOutput, connect
from .engine import Engine, Rollout, open_store
from .exceptions import (
    AlreadyExistsError,
    CancelledError,
    ConflictError,
    DeniedError,
    EffectInterruptedError,
    Error,
    InternalError,
    InvalidInputError,
    NotFoundError,
    ProtocolError,
    StorageError,
    TimedOutError,
    ToolFailedError,
    ToolMissingError,
    UnhealthyError,
    UnreachableError,
    UnsupportedError,
)
from .pipeline import Pipeline, rollback
from .providers import (
    Bake,
    Balancer,
    Configurator,
    Deployer,
    ImageBuilder,
    LogSink,
    Monitor,
    Provisioner,
    balancer,
    configurator,
    deployer,
    image_builder,
    log_sink,
    monitor,
    provisioner,
)
from .types import *  # noqa: F403
from .local import BalancerMode, BalancerPolicy, LocalBalancerConfig, LocalMode
from .playbook import Gathering
from .ssh import Files, HostKeys
from .vocabulary import *  # noqa: F403

if _typing.TYPE_CHECKING:
    from . import aio
else:

    def __getattr__(name):
        # asyncio takes longer to import than all the rest, and few need it.
        if name == "aio":
            import importlib

            return importlib.import_module("towpath.aio")
        raise AttributeError(f"module 'towpath' has no attribute {name!r}")


__all__ = [
    "AlreadyExistsError",
    "Bake",
    "Balancer",
    "BalancerMode",
    "BalancerPolicy",
    "Cancel",
    "CancelledError",
    "Config",
    "Configurator",
    "ConflictError",
    "Connection",
    "Data",
    "DeniedError",
    "Deployer",
    "EffectInterruptedError",
    "Engine",
    "Error",
    "ExecOutput",
    "Files",
    "Gathering",
    "Guardian",
    "HostKeys",
    "ImageBuilder",
    "InternalError",
    "InvalidInputError",
    "LocalBalancerConfig",
    "LocalMode",
    "LogSink",
    "Monitor",
    "NotFoundError",
    "Output",
    "Param",
    "Pipeline",
    "Play",
    "ProtocolError",
    "Provider",
    "Provisioner",
    "Rollout",
    "StepContext",
    "StorageError",
    "Store",
    "TimedOutError",
    "ToolFailedError",
    "ToolMissingError",
    "Unchanged",
    "UnhealthyError",
    "UnreachableError",
    "UnsupportedError",
    "aio",
    "aws",
    "balancer",
    "chef",
    "configurator",
    "connect",
    "deployer",
    "docker",
    "haproxy",
    "image_builder",
    "local",
    "log_sink",
    "monitor",
    "nginx",
    "open_store",
    "packer",
    "play",
    "playbook",
    "provider",
    "provisioner",
    "rollback",
    "script",
    "ssh",
    "step",
    "strider",
    "strider_tools",
    "terraform",
    "types",
    "unchanged",
    "vagrant",
    "vocabulary",
]
__all__ += types.__all__
__all__ += vocabulary.__all__
