#!/usr/bin/env python3
"""Releases of a service move over four hosts behind HAProxy while it is under load: rolling, as a canary whose next step a Python
function approves, and a bad one that is taken back. The twin of `cargo run --release --example rolling_haproxy`, which has more.

    pip install ./bindings-python
    python examples/rolling_haproxy.py

It needs HAProxy (`apt-get install haproxy`); the hosts are folders and processes of this machine.
"""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import towpath
from towpath import Approval, CanaryStep, Check, Gate, Hook, Release, Rolling
from towpath.haproxy import HaProxy
from towpath.local import Local, LocalMonitor
from towpath.playbook import Playbook
from towpath.ssh import ReleaseDirs

HERE = Path(__file__).resolve().parent
HOME = HERE.parent / "target" / "rolling-haproxy-python"
ENVIRONMENT = "rolling"
CLIENTS, RATE = 8, 200


class Load:
    """Clients that send all the time; every other one makes a new connection for each request."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.sent = self.failed = 0
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.clients = [threading.Thread(target=self.client, args=(n,)) for n in range(CLIENTS)]

    def client(self, number: int) -> None:
        connection = None
        while not self.over.wait(CLIENTS / RATE):
            failed = 0
            try:
                connection = connection or http.client.HTTPConnection(self.address, timeout=10)
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                failed = int(answer.status != 200)
            except (OSError, http.client.HTTPException):
                failed, connection = 1, None
            if number % 2 and connection is not None:
                connection.close()
                connection = None
            with self.lock:
                self.sent += 1
                self.failed += failed

    def __enter__(self) -> Load:
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for client in self.clients:
            client.join()


def looks_good(cx: towpath.StepContext, question: str, service: str, version: str) -> Dict[str, Any]:
    """Answers the canary's question. A real one would ask a dashboard, or a person."""
    cx.progress(f"{question} {service} {version}: yes")
    return {"granted": True, "by": "looks_good"}


def announce(cx: towpath.StepContext, service: str, version: str, **_: Any) -> None:
    """A hook: it runs before the first host is touched."""
    cx.progress(f"{service} {version} begins")


def healthy(**more: Any) -> Gate:
    def probe(path: str) -> Dict[str, Any]:
        return {"http": {"port": "{{ http_port }}", "path": path, "contains": "{{ release_version }}"}}

    checks = [Check(name=path, probe=probe(path)) for path in ("/healthz", "/")]
    return Gate(checks=checks, interval_s=0.05, **more)


def strategy(socket: Path, **more: Any) -> Rolling:
    return Rolling(
        balancer=HaProxy(backend="web", socket=str(socket)),
        backend_port="{{ http_port }}",
        monitor=LocalMonitor(),
        health=healthy(start_period_s=1.0, deadline_s=10.0),
        watch=healthy(hold_s=0.5),
        drain_limit_s=5.0,
        hooks=[Hook(when="before", phase="rollout", run={"function": name_of(announce)})],
        **more,
    )


def name_of(function: Any) -> str:
    """Another process that goes on with the run finds the function by this name."""
    return f"{function.__module__}:{function.__qualname__}"


def haproxy(port: int) -> Tuple[subprocess.Popen[bytes], Path]:
    socket = HOME / "admin.sock"
    config = HOME / "haproxy.cfg"
    config.write_text(
        f"global\n  stats socket {socket} mode 600 level admin\n"
        "defaults\n  mode http\n  timeout connect 2s\n  timeout client 30s\n  timeout server 10s\n  option redispatch\n"
        f"frontend front\n  bind 127.0.0.1:{port}\n  default_backend web\nbackend web\n  balance roundrobin\n"
    )
    try:
        process = subprocess.Popen(["haproxy", "-db", "-f", str(config)])
    except FileNotFoundError:
        sys.exit("error: HAProxy is missing: `apt-get install haproxy`")
    while not socket.exists():
        time.sleep(0.02)
    return process, socket


def releases(socket: Path) -> Iterator[Tuple[str, str, str, Rolling]]:
    canary = [CanaryStep(targets=1, bake=healthy(hold_s=1.0), approval=Approval(question="go on?", function=name_of(looks_good)))]
    yield "v1", "ok", "deployed", strategy(socket, batch="100%")
    yield "v2", "ok", "deployed", strategy(socket)
    yield "v3", "ok", "deployed", strategy(socket, canary=canary, batch=2, max_unavailable=2)
    yield "v4", "broken", "rolled_back", strategy(socket, canary=canary)


def main() -> int:
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(mode=0o700, parents=True)
    hosts = Local(hosts=4, name="web", ports=["http_port"], state_dir=str(HOME / "local"))
    store = f"sqlite:{HOME / 'store.db'}"
    prepare = towpath.Pipeline("hosts")
    made = prepare.provision("fleet", hosts)
    prepare.configure("site", Playbook(file=str(HERE / "quickstart" / "site.yml")), made.inventory())
    engine = towpath.Engine(store, environment=ENVIRONMENT, progress=True)
    inventory = engine.run(prepare).step("fleet").outputs["inventory"]
    port = 18080
    process, socket = haproxy(port)
    # If this program dies in the middle, drained hosts come back all the same.
    guardian = towpath.Guardian(engine.store, HOME / "guardian.log")
    program = towpath.file_artifact("web", HERE / "quickstart" / "serve.py")

    def webctl(verb: str) -> List[str]:
        return ["{{ towpath_root }}/opt/web/webctl", verb]

    well = True
    try:
        load = Load(port)
        for version, health, wanted, how in releases(socket):
            if version == "v2":
                load.__enter__()
            p = towpath.Pipeline(f"web {version}")
            to = ReleaseDirs(
                root="{{ towpath_root }}/srv/web",
                restart=webctl("restart"),
                stop=webctl("stop"),
                running=webctl("status"),
                file_name="web",
            )
            release = Release(service="web", version=version, artifact=program, env={"VERSION": version, "HEALTH": health})
            p.deploy("roll", to, release, inventory).rollout(how)
            before = load.sent, load.failed
            outcome = engine.run(p).step("roll").outputs["report"]["outcome"]
            sent, failed = load.sent - before[0], load.failed - before[1]
            print(f"{version}  {outcome:<12} {sent:>6} requests, {failed} failed")
            well &= outcome == wanted and failed == 0
        load.__exit__()
        for entry in engine.rollout("web").ledger():
            print(f"ledger: {entry.release.version} {entry.outcome}{', seen healthy' if entry.seen_healthy else ''}")
    finally:
        guardian.close()
        process.kill()
        process.wait()
        towpath.provisioner(hosts, environment=ENVIRONMENT).destroy()
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
