"""Steps and classes that tests put into pipelines. They stand in a module of their own, as steps must."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Dict, List

import towpath
from towpath import StepContext, provider


@towpath.step(count="number", names="json")
def count(inventory: towpath.Inventory, factor: int = 1) -> Dict[str, Any]:
    return {"count": len(inventory.hosts) * factor, "names": [host.name for host in inventory.hosts]}


async def later(cx: StepContext, text: str) -> Dict[str, Any]:
    return {"text": text.upper(), "environment": cx.environment, "step": cx.step}


def same(**inputs: Any) -> towpath.Unchanged:
    return towpath.unchanged(**inputs)


def wrong() -> str:
    return "not a dict"


def broken() -> None:
    raise ValueError("a defect of mine")


def flaky(marker: str) -> None:
    if not os.path.exists(marker):
        Path(marker).touch()
        raise towpath.UnreachableError("nobody answers", provider="mine", verb="call", context={"host": "x"}, retry=True)


def charge(cx: StepContext, folder: str, crash: bool) -> Dict[str, Any]:
    """Writes a line per call into `done`; looks there whether it happened."""
    done = Path(folder) / "done"

    def act() -> str:
        with done.open("a") as file:
            file.write("charged\n")
        if crash:
            os.abort()
        return "charged"

    def look(inner: StepContext) -> Any:
        inner.progress("looking")
        return "charged" if done.exists() else None

    first = cx.effect("first", {}, lambda: (done.parent / "first").open("a").write("x"))
    return {"first": first, "said": cx.effect("charge", {"amount": 5}, act, look)}


def notes(cx: StepContext) -> Dict[str, Any]:
    def act(inner: StepContext) -> Any:
        inner.note("id", {"n": 1})
        nested = inner.effect("nested", {}, lambda: 2)
        return [inner.recall("id"), nested]

    cx.warn("careful")
    cx.output("a line")
    return {"seen": cx.effect("outer", {}, act, opaque=True)}


def says_secret(cx: StepContext, secret: str) -> Dict[str, Any]:
    cx.learn_secret(secret)
    cx.progress(f"the secret is {secret}")
    return {"leak": secret}


def waits(cx: StepContext, started: str) -> None:
    Path(started).touch()
    try:
        cx.sleep(600)
    finally:
        Path(started + ".stopped").touch()


def waits_without_cx(started: str) -> None:
    Path(started).touch()
    time.sleep(1)
    Path(started + ".stopped").touch()


not_callable = 5


@provider("provisioner", "paper")
class Paper:
    """Hosts that exist on paper: a file each."""

    def __init__(self, folder: str, hosts: int = 1) -> None:
        self.folder = Path(folder)
        self.hosts = hosts

    def _environment(self, cx: StepContext) -> Dict[str, Any]:
        hosts = [{"name": path.name, "connection": {"kind": "local"}} for path in sorted(self.folder.glob("paper-*"))]
        return {"name": cx.environment, "inventory": {"hosts": hosts}, "outputs": {"size": len(hosts)}}

    def _missing(self) -> List[Path]:
        wanted = [self.folder / f"paper-{n + 1}" for n in range(self.hosts)]
        return [path for path in wanted if not path.exists()]

    def plan(self, cx: StepContext) -> Dict[str, Any]:
        changes = [
            {"target": path.name, "subject": "file", "action": "create", "certainty": "will"} for path in self._missing()
        ]
        return {"changes": changes}

    def apply(self, cx: StepContext) -> Dict[str, Any]:
        missing = self._missing()
        for path in missing:
            cx.effect(path.name, {}, lambda: path.touch())
        return {"environment": self._environment(cx), "changed": len(missing)}

    def probe(self, cx: StepContext) -> Dict[str, Any]:
        return {"environment": self._environment(cx), "drift": self.plan(cx)}

    def destroy(self, cx: StepContext) -> Dict[str, Any]:
        found = list(self.folder.glob("paper-*"))
        for path in found:
            path.unlink()
        return {"changed": len(found)}


@provider("configurator", "pencil")
class Pencil:
    def __init__(self, folder: str, text: str) -> None:
        self.folder = Path(folder)
        self.text = text

    def plan(self, cx: StepContext, targets: towpath.Targets) -> Dict[str, Any]:
        return {"changes": []}

    async def apply(self, cx: StepContext, targets: towpath.Targets) -> towpath.Configured:
        hosts = {}
        for host in targets.inventory.hosts:
            path = self.folder / host.name
            changed = path.read_text() != self.text
            path.write_text(self.text)
            hosts[host.name] = towpath.HostSummary(
                ok=1, changed=int(changed), unreachable=0, failed=0, skipped=0, rescued=0, ignored=0
            )
        return towpath.Configured(hosts=hosts)


@provider("image_builder", "copier")
class Copier:
    capabilities = ["archive", "build", "plan", "probe", "remove"]

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def plan(self, cx: StepContext, image: towpath.ImageInput) -> towpath.Plan:
        return towpath.Plan(changes=[])

    def build(self, cx: StepContext, image: towpath.ImageInput) -> towpath.Built:
        path = self.folder / f"{image.name}.tar"
        path.write_bytes(b"")
        artifact = towpath.Artifact(name=image.name, kind="archive", id=str(path), digest="sha256:0")
        return towpath.Built(artifacts=[artifact], changed=1)


@provider("deployer", "sticker")
class Sticker:
    """One file per host, with the version that runs there."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def stage(self, cx: StepContext, host: towpath.Host, release: towpath.Release) -> towpath.Staged:
        staged = self.folder / f"{host.name}.{release.version}"
        changed = not staged.exists()
        staged.touch()
        return towpath.Staged(changed=changed)

    def activate(self, cx: StepContext, host: towpath.Host, release: towpath.Release) -> None:
        (self.folder / f"{host.name}.current").write_text(release.version)

    def deactivate(self, cx: StepContext, host: towpath.Host) -> None:
        (self.folder / f"{host.name}.current").unlink(missing_ok=True)

    def probe(self, cx: StepContext, host: towpath.Host) -> towpath.TargetState:
        current = self.folder / f"{host.name}.current"
        version = current.read_text() if current.exists() else None
        return towpath.TargetState(current=version, running=version is not None, staged=[version] if version else [])


@provider("monitor", "eye")
class Eye:
    def __init__(self, folder: str, bad: str = "") -> None:
        self.folder = Path(folder)
        self.bad = bad

    def record(self, cx: StepContext, observations: List[towpath.Data]) -> None:
        (self.folder / "seen").write_text("\n".join(next(iter(one)) for one in observations))

    def assess(self, cx: StepContext, gate: towpath.Gate, targets: towpath.Targets) -> towpath.Verdict:
        for host in targets.inventory.hosts:
            if self.bad and (self.folder / f"{host.name}.current").read_text() == self.bad:
                return towpath.Verdict(kind="fail", reason=f"{host.name} runs {self.bad}")
        return towpath.Verdict(kind="pass", reason=f"{len(gate.checks)} checks")


@provider("log_sink", "list")
class Lines:
    lines: List[str] = []

    def append(self, cx: StepContext, records: List[towpath.LogRecord]) -> None:
        self.lines.extend(record.message for record in records)


def on_hosts(cx: StepContext, inventory: towpath.Inventory) -> Dict[str, Any]:
    said = {}
    for host in inventory.hosts:
        with cx.connect(host) as connection:
            said[host.name] = connection.run("hostname; cat /etc/mark 2>/dev/null || echo no mark").text
    return {"said": said}


def waits_on_host(cx: StepContext, inventory: towpath.Inventory, started: str) -> None:
    with cx.connect(inventory.hosts[0]) as connection:
        connection.run(["true"])
        Path(started).touch()
        connection.run(["sleep", "600"])


def nested(cx: StepContext) -> Dict[str, Any]:
    p = towpath.Pipeline("inner")
    p.call("same", same, n=1)
    return {"state": p.run("memory:").state, "effect": cx.effect("inner", {}, lambda: p.run("memory:").state)}


@provider("configurator", "marker")
class Marker:
    """Writes a file on each host, over the library's own connections."""

    def __init__(self, text: str) -> None:
        self.text = text

    def apply(self, cx: StepContext, targets: towpath.Targets) -> towpath.Configured:
        hosts = {}
        for host in targets.inventory.hosts:
            with cx.connect(host) as connection:
                before = connection.run("cat /etc/mark", check=False)
                changed = before.code != 0 or before.text != self.text
                if changed:
                    connection.put(self.text.encode(), "/etc/mark", mode=0o644)
            hosts[host.name] = towpath.HostSummary(
                ok=1, changed=int(changed), unreachable=0, failed=0, skipped=0, rescued=0, ignored=0
            )
        return towpath.Configured(hosts=hosts)
