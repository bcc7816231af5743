#!/usr/bin/env python3
"""The whole life of a small web service, on this machine: hosts, their configuration, an image, and three releases under load,
of which the last one is bad and is taken back. The twin of `cargo run --release --example quickstart`.

    pip install ./bindings-python
    python examples/quickstart.py

Run it again: it finds everything as it is, and deploys nothing. Kill it anywhere, or let it die with `--crash-at`, and run it
again: it goes on. `--destroy` ends and removes all.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import towpath
from towpath import Check, Gate, Inventory, LocalBalancerConfig, Release, Rolling
from towpath.local import Local, LocalArchive, LocalBalancer, LocalLogSink, LocalMonitor
from towpath.playbook import Playbook
from towpath.ssh import ReleaseDirs

HERE = Path(__file__).resolve().parent
# The environment that leases and ledgers are kept for.
ENVIRONMENT = "quickstart"
# The step whose end is the end of the traffic.
LAST_RELEASE = "release v3"

# Clients that send at the same time, each on a connection of its own; requests a second over all of them.
CLIENTS, RATE = 8, 400
# Even a run that has nothing to deploy sends this long, in seconds.
LEAST = 1.5


class Traffic:
    """What the clients have seen so far, and when they shall stop."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.sent = 0
        self.failed = 0
        self.over = threading.Event()

    def client(self, address: str, number: int, start: float) -> None:
        """Sends at its own pace until it is over, and tears no request."""
        pause = CLIENTS / RATE
        following = start + pause * number / CLIENTS
        connection: Optional[http.client.HTTPConnection] = None
        while not (self.over.is_set() and time.monotonic() - start >= LEAST):
            time.sleep(max(0.0, following - time.monotonic()))
            following += pause
            failed = 0
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(address, timeout=10)
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                failed = int(not 200 <= answer.status < 300)
            except (OSError, http.client.HTTPException):
                failed, connection = 1, None
            with self.lock:
                self.sent += 1
                self.failed += failed
        if connection is not None:
            connection.close()

    def send(self, cx: towpath.StepContext, address: str) -> Dict[str, Any]:
        """Sends until the last release is through."""
        start = time.monotonic()
        clients = [threading.Thread(target=self.client, args=(address, n, start)) for n in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            while not (self.over.is_set() and time.monotonic() - start >= LEAST):
                cx.sleep(0.05)
        finally:
            self.over.set()
            for client in clients:
                client.join()
        cx.progress(f"{self.sent} requests, {self.failed} failed")
        per_second = self.sent / (time.monotonic() - start)
        return {"sent": self.sent, "failed": self.failed, "per_second": per_second}

    def listen(self, event: towpath.Event) -> None:
        """Also told of a step that an earlier process has finished, when the run goes on."""
        if event.event == "step_finished" and event.step == LAST_RELEASE:
            self.over.set()


TRAFFIC = Traffic()


@towpath.step(sent="number", failed="number", per_second="number")
def traffic(cx: towpath.StepContext, balancer: str) -> Any:
    """Somebody uses the service, all the time. Requests change nothing, so an interrupted round is simply sent again."""
    return cx.effect("send", {"to": balancer}, lambda inner: TRAFFIC.send(inner, balancer))


def under_load(cx: towpath.StepContext) -> None:
    """Waits until the traffic is there."""
    while TRAFFIC.sent < 100 and not TRAFFIC.over.is_set():
        cx.sleep(0.01)


def healthy(version: str) -> Gate:
    probe = {"http": {"port": "{{ http_port }}", "path": "/healthz", "status": 200, "contains": version}}
    # The service takes a moment to listen; after that a failure counts.
    return Gate(checks=[Check(name="healthz", probe=probe)], interval_s=0.05, start_period_s=0.6, deadline_s=15.0)


def balancer(home: Path, port: Optional[int]) -> Dict[str, Any]:
    return {"mode": "http", "state_dir": str(home / "local"), **({"port": port} if port else {})}


def fleet_of(home: Path) -> Local:
    front = LocalBalancerConfig(**balancer(home, None))
    return Local(hosts=3, name="web", ports=["http_port"], state_dir=str(home / "local"), balancer=front)


def pipeline(home: Path, given: Optional[Tuple[Inventory, int]]) -> towpath.Pipeline:
    """The same shape as `quickstart.yml` and the Rust one, with traffic on top."""
    p = towpath.Pipeline("quickstart")
    hosts: Any
    front: Any
    if given is None:
        fleet = p.provision("fleet", fleet_of(home))
        hosts, front = fleet.inventory(), fleet.output("balancer")
    else:
        hosts, front = given[0], f"127.0.0.1:{given[1]}"

    site = p.configure("site", Playbook(file=str(HERE / "quickstart" / "site.yml")), hosts)
    # What a new host would start from; releases come on top of it.
    image = towpath.ImageInput(name="web", base={"host_of": {"inventory": hosts}}, artifacts=["archive"])
    baked = p.build_image("image", LocalArchive(dir=str(home / "images"), exclude=["/srv/web"]), image).after(site)

    program = towpath.file_artifact("quickstart", HERE / "quickstart" / "serve.py")

    def webctl(verb: str) -> List[str]:
        return ["{{ towpath_root }}/opt/web/webctl", verb]

    def release(version: str, health: str) -> towpath.pipeline.DeployStep:
        env = {"VERSION": version, "HEALTH": health}
        deployer = ReleaseDirs(
            root="{{ towpath_root }}/srv/web",
            restart=webctl("restart"),
            stop=webctl("stop"),
            running=webctl("status"),
            file_name="web",
        )
        how = Rolling(
            batch=1,
            balancer=LocalBalancer(**balancer(home, given[1] if given else None)),
            monitor=LocalMonitor(),
            health=healthy("{{ release_version }}"),
            drain_limit_s=5.0,
            superseded="skip",
            backend_port=None if given else "{{ http_port }}",
        )
        what = Release(service="web", version=version, artifact=program, env=env)
        return p.deploy(f"release {version}", deployer, what, hosts).rollout(how)

    v1 = release("v1", "ok").after(baked)
    # From here on somebody uses the service, all the time.
    requests = p.call("traffic", traffic, balancer=front).after(v1)
    loaded = p.call("under load", under_load).after(v1)
    v2 = release("v2", "ok").after(loaded)
    # v3 can't become healthy: every host goes back to v2, and the pipeline goes on.
    v3 = release("v3", "broken").after(v2).on_fail("continue")

    well = p.gate("v2 is well", LocalMonitor(), healthy("v2"), hosts).after(v3)
    numbers = [
        {"metric": {"name": "requests.sent", "value": requests.output("sent")}},
        {"metric": {"name": "requests.failed", "value": requests.output("failed")}},
        towpath.notice("web: v2 serves, v3 was rolled back"),
    ]
    p.record("metrics", LocalMonitor(), numbers).after(well)
    log = towpath.LogFile(path="{{ towpath_root }}/var/log/web/web.log", source="web")
    p.ship_logs("logs", LocalLogSink(path=str(home / "logs.jsonl")), [log], hosts).after(well)
    return p


def load(file: str) -> Inventory:
    """The hosts of an Ansible inventory."""
    defaults = {"http_port": 8080, "towpath_root": ""}
    found = towpath.provisioner(towpath.playbook.Inventory(file=os.path.abspath(file), defaults=defaults))
    return found.apply().environment.inventory


def variable(inventory: Inventory, host: towpath.Host, name: str) -> Any:
    groups = [group.vars for group in inventory.groups.values() if host.name in group.hosts]
    return next(vars[name] for vars in (host.vars, *groups, inventory.vars) if name in vars)


def reach(home: Path, inventory: Inventory, port: int) -> List[towpath.Connection]:
    """Opens a local port for each host's service, and tells the balancer: only the hosts' SSH port need be reachable. The ports
    are open as long as the connections are kept."""
    kept = []
    front = towpath.balancer(LocalBalancer(**balancer(home, port)), environment=ENVIRONMENT)
    for host in inventory.hosts:
        connection = towpath.connect(host)
        here = connection.forward(int(variable(inventory, host, "http_port")))
        front.add(towpath.types.Backend(name=host.name, address="127.0.0.1", port=here))
        kept.append(connection)
    return kept


def own_port(home: Path) -> int:
    """A free port for the balancer in front of given hosts, the same in every run."""
    kept = home / "port"
    if not kept.exists():
        with socket.create_server(("127.0.0.1", 0)) as free:
            kept.write_text(str(free.getsockname()[1]))
    return int(kept.read_text())


def serving(address: str) -> Optional[str]:
    """Asks the service which version answers, often enough to meet every host."""
    versions = set()
    for _ in range(9):
        try:
            connection = http.client.HTTPConnection(address, timeout=5)
            connection.request("GET", "/")
            versions.add(connection.getresponse().read().decode())
            connection.close()
        except (OSError, http.client.HTTPException):
            return None
    return " and ".join(sorted(versions))


def summary(report: towpath.RunReport, address: str, runs: Path) -> Tuple[Dict[str, Any], bool]:
    """What the run came to, and whether it shows what it is there to show."""
    rolled = [step.outputs["report"] for step in report.steps if "report" in step.outputs]
    outcomes = {one["to"]: one["outcome"] for one in rolled}
    numbers = report.step("traffic").outputs
    requests = {name: numbers.get(name, 0) for name in ("sent", "failed", "per_second")}
    page, journal = (runs / f"{report.run}.{end}" for end in ("html", "jsonl"))
    found = {
        "run": report.run,
        "resumed": report.resumed,
        "hosts": len({target["host"] for one in rolled for target in one["targets"]}),
        "steps": [{name: step.get(name) for name in ("name", "state", "seconds", "attempts")} for step in report.steps],
        "requests": requests,
        "releases": [{"release": version, "outcome": outcome} for version, outcome in outcomes.items()],
        "serving": serving(address),
        "seconds": report.seconds,
        "run_page": str(page) if page.exists() else None,
        "journal": str(journal) if journal.exists() else None,
    }
    kept = ("deployed", "unchanged", "superseded")
    well = (
        all(step.state in ("done", "unchanged") or (step.state and step.name == LAST_RELEASE) for step in report.steps)
        and outcomes.get("v1") in kept
        and outcomes.get("v2") in kept
        and outcomes.get("v3") in ("rolled_back", "refused")
        and found["serving"] == "v2"
        and requests["failed"] == 0
        and requests["sent"] > 0
    )
    return found, bool(well)


def show(report: towpath.RunReport, found: Dict[str, Any], well: bool) -> None:
    """The same for people."""
    print("\nsteps")
    for step in report.steps:
        print(f"  {step.name:<14} {(step.state or 'not finished').replace('_', ' '):<12} {step.seconds:>7.2f} s")
    print(f"releases, on {found['hosts']} hosts")
    for release in found["releases"]:
        print(f"  {release['release']} {release['outcome'].replace('_', ' ')}")
    requests = found["requests"]
    print(f"requests  {requests['sent']} sent, {requests['failed']} failed, {requests['per_second']:.0f} a second")
    print(f"serving   {found['serving'] or 'nothing'}")
    print(f"run page  {found['run_page']}\njournal   {found['journal']}")
    print(f"{'done' if well else 'NOT AS IT SHOULD BE'} in {found['seconds']:.1f} s")


def destroy(home: Path) -> None:
    """Ends hosts and balancer, and removes what was kept. What was put on hosts of an inventory stays there."""
    towpath.provisioner(fleet_of(home), environment=ENVIRONMENT).destroy()
    shutil.rmtree(home, ignore_errors=True)


def run(options: argparse.Namespace) -> bool:
    home = Path(options.store or HERE.parent / "target" / "quickstart-python").absolute()
    if options.destroy:
        destroy(home)
        return True
    inventory = load(options.inventory) if options.inventory else None
    if options.plan:
        # A plan of what was never run has no state to look at, and makes none.
        database = home / "store.db"
        store = f"sqlite:{database}" if database.exists() else "memory:"
        planned = pipeline(home, None if inventory is None else (inventory, 1))
        print(planned.plan(store, environment=ENVIRONMENT))
        return True
    runs = home / "runs"
    runs.mkdir(mode=0o700, parents=True, exist_ok=True)
    given = None if inventory is None else (inventory, own_port(home))
    reached = [] if given is None else reach(home, *given)
    wanted = pipeline(home, given)
    steps = [step["name"] for step in wanted.data()["steps"]]
    if options.crash_at is not None and options.crash_at not in steps:
        context = {"step": options.crash_at, "steps": ", ".join(steps)}
        raise towpath.InvalidInputError("there is no such step", verb="--crash-at", context=context)
    engine = wanted.engine(
        f"sqlite:{home / 'store.db'}",
        environment=ENVIRONMENT,
        label=f"quickstart.py, pid {os.getpid()}",
        on_event=TRAFFIC.listen,
        progress=not options.json,
        journal=runs,
        run_page=runs,
        abort_in_step=options.crash_at,
    )
    report = engine.run(wanted)
    if report.state == "cancelled":
        raise towpath.CancelledError("cancelled; run it again to go on", verb="run")
    address = f"127.0.0.1:{given[1]}" if given else report.step("fleet").outputs["balancer"]
    found, well = summary(report, address, runs)
    for connection in reached:
        connection.close()
    if options.json:
        print(json.dumps(found))
    else:
        show(report, found, well)
    return well


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end and nothing else")
    parser.add_argument("--plan", action="store_true", help="print what a run would do; touches nothing")
    parser.add_argument("--inventory", metavar="FILE", help="use the hosts of this Ansible inventory")
    parser.add_argument("--crash-at", metavar="STEP", help="die (SIGABRT) inside this step, after its first effect's intent")
    parser.add_argument("--store", metavar="PATH", help="the folder where everything is kept")
    parser.add_argument("--destroy", action="store_true", help="end the hosts and the balancer, and remove the folder")
    try:
        return 0 if run(parser.parse_args()) else 1
    except KeyboardInterrupt:
        return 130
    except towpath.Error as error:
        print(f"error: {error}", file=sys.stderr)
        codes = {"cancelled": 130, "invalid_input": 2, "not_found": 2}
        return codes.get(error.kind, 1)


if __name__ == "__main__":
    sys.exit(main())
