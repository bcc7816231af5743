#!/usr/bin/env python3
"""Writes the classes of configs and inputs from the JSON schemas of the library.

`python generate.py` writes python/towpath/{vocabulary,aio}.py and a module for each crate with providers; `--check` only says whether they are current.
It needs the built module: install it first (`pip install .`), which works with any state of the generated files.
"""

import ast
import importlib
import importlib.util
import json
import keyword
import re
import sys
import textwrap
import types
from pathlib import Path
from typing import Any, Dict, List, Tuple

HERE = Path(__file__).resolve().parent / "python" / "towpath"
HEAD = '"""{doc}"""\n\n# Written by generate.py from the schemas of the library. Do not edit.\n\nfrom __future__ import annotations\n\n'
VOCABULARY = "vocabulary"
# The crate that a provider is in, where it is not called like it.
MODULES = {
    "inventory": "playbook",
    "jsonl": "local",
    "local-archive": "local",
    "release-dirs": "ssh",
    "vagrant-box": "vagrant",
}
DOCS = {
    "aws": "Amazon Web Services: EC2 instances, AMIs, launch templates, Auto Scaling, target groups.",
    "docker": "Containers, images and development environments through the Docker Engine.",
    "haproxy": "HAProxy's servers, through its runtime API.",
    "nginx": "The servers of an nginx upstream, in a file that it includes.",
    "chef": "chef-solo and chef-client on the hosts.",
    "script": "Shell scripts and uploaded files, with guards.",
    "packer": "Packer, the real program.",
    "local": "This machine: hosts, balancer, monitor, log sink. Nothing to install.",
    "playbook": "Playbooks, run natively.",
    "ssh": "Hosts over SSH, and release directories on them.",
    "strider": "Strider CD: a job of its server for each release.",
    "terraform": "Terraform and OpenTofu, the real programs.",
    "vagrant": "Vagrant machines by the real program, and boxes without it.",
}


def native() -> Any:
    """The native half alone, since the rest may not be importable before this has run."""
    spec = importlib.util.find_spec("towpath")
    if spec is None or spec.submodule_search_locations is None:
        sys.exit("towpath is not installed: run `pip install ./bindings-python` first")
    package = types.ModuleType("towpath")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["towpath"] = package
    return importlib.import_module("towpath._towpath")


class Types:
    """Names of schemas, and how Python spells them."""

    def __init__(self) -> None:
        self.defs: Dict[str, Dict[str, Any]] = {}
        # The module that each is written to: that of the one crate that knows it, else the vocabulary.
        self.home: Dict[str, str] = {}

    def learn(self, schema: Dict[str, Any], module: str) -> None:
        for name, one in schema.get("$defs", {}).items():
            self.add(name, one, module)

    def add(self, name: str, schema: Dict[str, Any], module: str) -> None:
        if self.defs.setdefault(name, schema) != schema:
            sys.exit(f"two different types are called {name}")
        if self.home.setdefault(name, module) != module:
            self.home[name] = VOCABULARY

    def of(self, module: str) -> List[str]:
        return sorted(name for name, home in self.home.items() if home == module)

    def is_class(self, name: str) -> bool:
        return "properties" in self.defs[name]

    def spell(self, schema: Any) -> str:
        """The annotation of a schema."""
        if schema is True or schema == {}:
            return "Any"
        if "$ref" in schema:
            return str(schema["$ref"]).rsplit("/", 1)[1]
        if "const" in schema:
            return f"Literal[{schema['const']!r}]".replace("'", '"')
        if "enum" in schema:
            return "Literal[" + ", ".join(json.dumps(one) for one in schema["enum"]) + "]"
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self.union(schema[key])
        kind = schema.get("type")
        if isinstance(kind, list):
            inner = self.spell({**schema, "type": next(k for k in kind if k != "null")})
            return f"Optional[{inner}]" if "null" in kind else inner
        if kind == "array":
            return f"List[{self.spell(schema.get('items', True))}]"
        if kind == "object":
            rest = schema.get("additionalProperties", True)
            return f"Dict[str, {self.spell(rest)}]" if rest is not False else "Dict[str, Any]"
        return {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}.get(kind, "Any")

    def union(self, choices: List[Any]) -> str:
        if all(isinstance(c, dict) and "const" in c for c in choices):
            return "Literal[" + ", ".join(json.dumps(c["const"]) for c in choices) + "]"
        spelled: List[str] = []
        for choice in choices:
            one = self.spell(choice) if choice != {"type": "null"} else "None"
            if one not in spelled:
                spelled.append(one)
        if "None" in spelled:
            spelled.remove("None")
            inner = spelled[0] if len(spelled) == 1 else f"Union[{', '.join(spelled)}]"
            return f"Optional[{inner}]"
        return spelled[0] if len(spelled) == 1 else f"Union[{', '.join(spelled)}]"


def doc(schema: Dict[str, Any], indent: str, end: str = "") -> str:
    text = schema.get("description", "").replace("[`", "`").replace("`]", "`").replace("\\", "\\\\")
    lines: List[str] = []
    for paragraph in text.split("\n\n"):
        lines += [*textwrap.wrap(" ".join(paragraph.split()), 110 - len(indent)), ""]
    body = ("\n" + indent).join(line for line in lines[:-1]).replace("\n" + indent + "\n", "\n\n")
    return f'{indent}"""{body}{end}"""\n' if body else ""


def spelled(name: str) -> str:
    """A name that is a word of Python's own gets an underscore."""
    return f"{name}_" if keyword.iskeyword(name) else name


def fields(schema: Dict[str, Any]) -> List[Tuple[str, Dict[str, Any], bool]]:
    required = schema.get("required", [])
    found = [(name, one, name in required) for name, one in schema.get("properties", {}).items()]
    return sorted(found, key=lambda f: not f[2])


def init(of: Types, schema: Dict[str, Any]) -> str:
    """The signature, for type checkers only: at run time the base class takes all and checks them."""
    arguments = []
    for name, one, required in fields(schema):
        kind = of.spell(one)
        inner = kind[len("Optional[") : -1] if kind.startswith("Optional[") else kind
        inner = inner.replace("ProviderRef", "Union[ProviderRef, Config]")
        name = spelled(name)
        arguments.append(f"{name}: Union[{inner}, Ref]" if required else f"{name}: Union[{inner}, Ref, None] = None")
    if not arguments:
        return "\n    if TYPE_CHECKING:\n\n        def __init__(self) -> None: ...\n"
    lines = "".join(f"            {a},\n" for a in arguments)
    return f"\n    if TYPE_CHECKING:\n\n        def __init__(\n            self,\n            *,\n{lines}        ) -> None: ...\n"


def described(of: Types, schema: Dict[str, Any]) -> str:
    """The docstring of a class with all its fields."""
    head = doc(schema, "    ").strip()[3:-3]
    lines = []
    for name, one, _ in fields(schema):
        text = " ".join(one.get("description", "").replace("[`", "`").replace("`]", "`").split())
        wrapped = textwrap.wrap(f"{spelled(name)}: {text}", 110, initial_indent="    ", subsequent_indent="        ")
        lines.append("\n".join(wrapped))
    body = "\n".join(lines).replace("\\", "\\\\")
    return f'    """{head}\n\n{body}\n    """\n' if body else f'    """{head}"""\n'


def declared(of: Types, home: str) -> str:
    """The types of a module: aliases, then classes, then aliases that need the classes."""
    names = of.of(home)
    classes = [name for name in names if of.is_class(name)]
    early, late = "", ""
    for name in names:
        if name in classes:
            continue
        kind = of.spell(of.defs[name])
        alias = f"{name} = {kind}\n" + doc(of.defs[name], "") + "\n"
        if any(re.search(rf"\b{c}\b", kind) for c in classes):
            late += alias
        else:
            early += alias
    body = ""
    for name in classes:
        schema = of.defs[name]
        body += f"\nclass {name}(Data):\n{described(of, schema)}\n"
        for field, one, _ in fields(schema):
            body += f"    {spelled(field)}: {of.spell(one)}\n"
        body += init(of, schema) + "\n"
    return early + body + (f"\n{late}" if late else "")


def bare(text: str) -> str:
    """Code without its docstrings."""
    return re.sub(r'""".*?"""', "", text, flags=re.S)


def imports(text: str) -> str:
    """What of `typing` and of the package's own a module needs."""
    code = bare(text)
    wanted = ("TYPE_CHECKING", "Any", "Dict", "List", "Literal", "Optional", "Union")
    typing = [n for n in wanted if re.search(rf"\b{n}\b", code)]
    data = [n for n in ("Config", "Data", "Ref") if re.search(rf"\b{n}\b", code)]
    return f"from typing import {', '.join(typing)}\n\nfrom ._data import {', '.join(data)}\n"


def exported(names: List[str]) -> str:
    return "\n__all__ = [\n" + "".join(f'    "{name}",\n' for name in sorted(names)) + "]\n"


def vocabulary(of: Types) -> str:
    types = declared(of, VOCABULARY)
    return HEAD.format(doc="What configs and inputs are made of.") + imports(types) + "\n" + types + exported(of.of(VOCABULARY))


def module(of: Types, name: str, providers: List[Dict[str, Any]]) -> str:
    own = of.of(name)
    types = declared(of, name)
    configs, names = "", []
    for one in providers:
        schema = one["schema"]
        cls = schema["title"][: -len("Config")]
        names.append(cls)
        configs += f"\n\nclass {cls}(Config):\n{described(of, schema)}\n"
        configs += f'    role = "{one["role"]}"\n    provider = "{one["provider"]}"\n'
        configs += init(of, schema)
    # A config may be called like a type: `Inventory`.
    shared = [n for n in of.of(VOCABULARY) if n not in names]
    in_types, in_configs = ({n for n in shared if re.search(rf"\b{n}\b", bare(t))} for t in (types, configs))
    out = HEAD.format(doc=DOCS.get(name, f"The provider {name}.")) + imports(types + configs)
    if in_types:
        # Needed when values are wrapped, not only by type checkers.
        out += f"from .vocabulary import {', '.join(sorted(in_types))}\n"
    if in_configs - in_types:
        out += f"\nif TYPE_CHECKING:\n    from .vocabulary import {', '.join(sorted(in_configs - in_types))}\n"
    return out + (f"\n{types.rstrip()}\n" if own else "") + configs + "\n" + exported(names + own)


AIO_HEAD = '''"""The same verbs as coroutines: `await towpath.aio.Engine(store).run(pipeline)`.

Each waits on a thread of its own pool, so that many may wait at once. Cancelling a task cancels what it runs, and waits until
that has stopped. What a verb does stands at its twin in `towpath`.
"""

# Written by generate.py from engine.py and providers.py. Do not edit.

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence, Union

from . import connection as _connection, engine as _engine, providers as _providers
from ._await import call
from ._data import Config
from ._towpath import Cancel, Store
from .connection import ExecOutput
{types}
if TYPE_CHECKING:
    from .pipeline import Pipeline


async def open_store(url: str) -> Store:
    """As `towpath.open_store`."""
    return await call(lambda *, cancel: _engine.open_store(url))


async def connect(
    host: Host,
    *,
    connectors: Optional[Mapping[str, Any]] = None,
    base_dir: Union[str, os.PathLike[str]] = ".",
    cancel: Optional[Cancel] = None,
) -> Connection:
    """As `towpath.connect`."""
    return Connection(await call(_connection.connect, host, connectors=connectors, base_dir=base_dir, cancel=cancel))
'''


def twin(method: ast.FunctionDef, owner: str) -> str:
    """A coroutine with the same signature."""
    arguments = method.args
    passed = [a.arg for a in arguments.args[1:]] + [f"{a.arg}={a.arg}" for a in arguments.kwonlyargs]
    returns = ast.unparse(method.returns) if method.returns else "None"
    asked = ", ".join([f"self._sync.{method.name}", *passed])
    head = f"    async def {method.name}({ast.unparse(arguments)}) -> {returns}:\n"
    doc = f'        """As `towpath.{owner}.{method.name}`."""\n'
    return f"\n{head}{doc}        {'' if returns == 'None' else 'return '}await call({asked})\n"


def is_part(method: ast.FunctionDef, classes: Dict[str, ast.ClassDef]) -> bool:
    returns = ast.unparse(method.returns) if method.returns else ""
    return not method.name.startswith("_") and returns in classes and not any(a.arg == "cancel" for a in method.args.kwonlyargs)


def part(method: ast.FunctionDef, owner: str) -> str:
    """A method that makes another class of this module, and waits for nothing."""
    returns = ast.unparse(method.returns or ast.Constant(None))
    passed = ", ".join(a.arg for a in method.args.args[1:])
    head = f"    def {method.name}({ast.unparse(method.args)}) -> {returns}:\n"
    doc = f'        """As `towpath.{owner}.{method.name}`, with coroutines."""\n'
    return f"\n{head}{doc}        return {returns}(self._sync.{method.name}({passed}))\n"


def verbs(cls: ast.ClassDef) -> List[ast.FunctionDef]:
    found = [one for one in cls.body if isinstance(one, ast.FunctionDef)]
    return [one for one in found if not one.name.startswith("_") and any(a.arg == "cancel" for a in one.args.kwonlyargs)]


def aio() -> str:
    """The awaitable twins of the engine and of all handles."""
    body, names = "", ["connect", "open_store"]
    for module in ("connection", "engine", "providers"):
        tree = ast.parse((HERE / f"{module}.py").read_text())
        classes = {one.name: one for one in tree.body if isinstance(one, ast.ClassDef)}
        handle = verbs(classes["_Handle"]) if "_Handle" in classes else []
        for name, cls in classes.items():
            if name.startswith("_") or name == "ExecOutput":
                continue
            names.append(name)
            body += f'\n\nclass {name}:\n    """As `towpath.{name}`."""\n\n'
            if name == "Engine":
                init = next(o for o in cls.body if isinstance(o, ast.FunctionDef) and o.name == "__init__")
                passed = [a.arg for a in init.args.args[1:]] + [f"{a.arg}={a.arg}" for a in init.args.kwonlyargs]
                body += f"    def __init__({ast.unparse(init.args)}) -> None:\n"
                body += f"        self._sync = _engine.{name}({', '.join(passed)})\n"
            else:
                body += f"    def __init__(self, sync: _{module}.{name}) -> None:\n        self._sync = sync\n"
            body += "\n    def __repr__(self) -> str:\n        return f\"aio.{self._sync!r}\"\n"
            is_handle = any(ast.unparse(base) == "_Handle" for base in cls.bases)
            body += "".join(twin(one, name) for one in (handle if is_handle else []) + verbs(cls))
            if name == "Engine":
                body += "".join(part(one, name) for one in cls.body if isinstance(one, ast.FunctionDef) and is_part(one, classes))
        for one in tree.body:
            if isinstance(one, ast.FunctionDef) and one.returns and ast.unparse(one.returns) in classes:
                if one.name.startswith("_") or module == "connection":
                    continue
                names.append(one.name)
                returns = ast.unparse(one.returns)
                passed = [a.arg for a in one.args.args] + [f"{a.arg}={a.arg}" for a in one.args.kwonlyargs]
                body += f"\n\ndef {one.name}({ast.unparse(one.args)}) -> {returns}:\n"
                body += f'    """As `towpath.{one.name}`, with coroutines."""\n'
                body += f"    return {returns}(_providers.{one.name}({', '.join(passed)}))\n"
    known = re.findall(r"^class (\w+)\(Data\)", (HERE / "types.py").read_text(), re.M)
    known += re.findall(r"^class (\w+)\(Data\)", (HERE / "vocabulary.py").read_text(), re.M)
    used = sorted(n for n in set(known) if re.search(rf"\b{n}\b(?!\.)", bare(body)))
    types = "from .types import (\n" + "".join(f"    {n},\n" for n in used) + ")\n"
    return AIO_HEAD.format(types=types) + body + f"\n\n__all__ = {json.dumps(sorted(names))}\n"


def files() -> Dict[Path, str]:
    schemas = native().schemas()
    of = Types()
    for one in schemas["types"]:
        of.learn(one, VOCABULARY)
        # Observation and its like are unions, not classes.
        of.add(one["title"], {k: v for k, v in one.items() if k not in ("$defs", "$schema", "title")}, VOCABULARY)
    modules: Dict[str, List[Dict[str, Any]]] = {}
    for one in schemas["providers"]:
        name = MODULES.get(one["provider"], one["provider"])
        of.learn(one["schema"], name)
        modules.setdefault(name, []).append(one)
    made = {HERE / f"{name}.py": module(of, name, providers) for name, providers in modules.items()}
    made[HERE / "vocabulary.py"] = vocabulary(of)
    made[HERE / "aio.py"] = aio()
    return made


def main() -> int:
    stale = []
    for path, text in files().items():
        if not path.exists() or path.read_text() != text:
            stale.append(path)
            if "--check" not in sys.argv[1:]:
                path.write_text(text)
    for path in stale:
        print(f"{path.name}: {'not current: run generate.py' if '--check' in sys.argv[1:] else 'written'}")
    return 1 if stale and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
