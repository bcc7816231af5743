#!/usr/bin/env python3
"""The whole life of a small web service, on this machine and with nothing installed but `pip install ./bindings-python`:
hosts, their configuration, an image, and three releases under load, of which the last one is bad and is taken back.

    python examples/quickstart.py

Run it again: it finds everything as it is, and deploys nothing. Kill it anywhere, or let it die with `--crash-at`, and run
it again: it goes on. `--destroy` ends and removes all. The same as quickstart.rs, with the same options.
"""

import argparse
import hashlib
import http.client
import json
import pathlib
import shutil
import socket
import sys
import threading
import time

import towpath
from towpath import Check, Gate, Rolling
from towpath.local import Local, LocalArchive, LocalBalancer, LocalLogSink, LocalMonitor
from towpath.playbook import Inventory, Playbook
from towpath.ssh import ReleaseDirs

HERE = pathlib.Path(__file__).resolve().parent
ENVIRONMENT = "quickstart-py"
LAST_RELEASE = "release v3"
STEPS_TO_SHOW = ("release v1", "release v2", "release v3")

CLIENTS = 8
RATE = 300
LEAST_SECONDS = 1.5


class Traffic:
    """Requests, all the time, while releases roll."""

    def __init__(self):
        self.sent = self.failed = 0
        self.over = threading.Event()
        self.lock = threading.Lock()

    def client(self, address, started, number):
        host, port = address.rsplit(":", 1)
        connection = None
        pause = CLIENTS / RATE
        due = started + pause * number / CLIENTS
        while not (self.over.is_set() and time.monotonic() - started >= LEAST_SECONDS):
            time.sleep(max(0.0, due - time.monotonic()))
            due += pause
            try:
                connection = connection or http.client.HTTPConnection(host, int(port), timeout=10)
                connection.request("GET", "/")
                response = connection.getresponse()
                response.read()
                well = response.status == 200
            except (OSError, http.client.HTTPException):
                well = False
            if not well:
                connection = None
            with self.lock:
                self.sent += 1
                self.failed += not well


TRAFFIC = Traffic()


@towpath.step(sent="number", failed="number", per_second="number")
def traffic(cx: towpath.StepContext, balancer: str) -> dict:
    """Sends until the last release is over. Requests change nothing, so an interrupted round is simply sent again."""

    def send():
        started = time.monotonic()
        clients = [
            threading.Thread(target=TRAFFIC.client, args=(balancer, started, number), daemon=True)
            for number in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        while any(client.is_alive() for client in clients):
            cx.sleep(0.02)
        seconds = time.monotonic() - started
        return {"sent": TRAFFIC.sent, "failed": TRAFFIC.failed, "per_second": TRAFFIC.sent / seconds}

    numbers = cx.effect("send", {"to": balancer}, send)
    cx.progress(f"{numbers['sent']} requests, {numbers['failed']} failed")
    return dict(numbers)


def under_load(cx: towpath.StepContext) -> None:
    """Waits until the service is used."""
    while TRAFFIC.sent < 100 and not TRAFFIC.over.is_set():
        cx.sleep(0.01)


def healthy(version):
    probe = {"http": {"port": "{{ http_port }}", "path": "/healthz", "contains": version}}
    check = Check(name="healthz", probe=probe)
    # The service takes a moment to listen; after that a failure counts.
    return Gate(checks=[check], interval_s=0.05, start_period_s=0.5, deadline_s=15.0)


def front(home, port=None):
    """The balancer; hosts that exist already are behind one whose port is chosen here, once."""
    return LocalBalancer(state_dir=str(home / "local"), **({"port": port} if port else {}))


def free_port(home):
    kept = home / "front-port"
    if not kept.exists():
        with socket.create_server(("127.0.0.1", 0)) as server:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            kept.write_text(str(server.getsockname()[1]))
    return int(kept.read_text())


def fleet(home):
    return Local(
        hosts=3, name="web", ports=["http_port"], state_dir=str(home / "local"), balancer=front(home).config
    )


def build(home, given):
    """`given`: hosts that exist already; None: hosts are made."""
    p = towpath.Pipeline("quickstart")
    if given is None:
        made = p.provision("fleet", fleet(home))
        hosts, address = made.inventory(), made.output("balancer")
    else:
        hosts, address = given.inventory, given.address
    balancer = front(home, given and given.port).config
    site = p.configure("site", Playbook(file=str(HERE / "quickstart/site.yml")), hosts)
    image = {"name": "web", "base": {"host_of": {"inventory": hosts}}, "artifacts": ["archive"]}
    archive = LocalArchive(dir=str(home / "images"), exclude=["/srv/web"])
    baked = p.build_image("image", archive, image).after(site)

    program = HERE / "quickstart/serve.py"
    digest = "sha256:" + hashlib.sha256(program.read_bytes()).hexdigest()
    webctl = "{{ towpath_root }}/opt/web/webctl"

    def release(version, health):
        what = towpath.Release(
            service="web",
            version=version,
            artifact={"name": "web", "kind": "file", "id": str(program), "digest": digest},
            env={"VERSION": version, "HEALTH": health},
        )
        deployer = ReleaseDirs(
            root="{{ towpath_root }}/srv/web",
            file_name="web",
            restart=[webctl, "restart"],
            stop=[webctl, "stop"],
            running=[webctl, "status"],
        )
        how = Rolling(
            batch=1,
            balancer={"provider": "local", "config": balancer},
            monitor={"provider": "local"},
            health=healthy("{{ release_version }}"),
            drain_limit_s=5.0,
            superseded="skip",
            **({"backend_port": "{{ http_port }}"} if given is None else {}),
        )
        return p.deploy(f"release {version}", deployer, what, hosts).rollout(how)

    v1 = release("v1", "ok").after(baked)
    # From here on somebody uses the service, all the time.
    load = p.call("traffic", traffic, balancer=address).after(v1)
    loaded = p.call("under load", under_load).after(v1)
    v2 = release("v2", "ok").after(loaded)
    # v3 can't become healthy: every host goes back to v2, and the pipeline goes on.
    v3 = release("v3", "broken").after(v2).on_fail("continue")
    well = p.gate("v2 is well", LocalMonitor(), healthy("v2"), hosts).after(v3)

    numbers = [
        {"metric": {"name": "requests.sent", "value": load.output("sent")}},
        {"metric": {"name": "requests.failed", "value": load.output("failed")}},
        {"notice": {"title": "web: v2 serves, v3 was rolled back"}},
    ]
    p.record("metrics", LocalMonitor(), numbers).after(well)
    log = {"path": "{{ towpath_root }}/var/log/web/web.log", "source": "web"}
    p.ship_logs("logs", LocalLogSink(path=str(home / "logs.jsonl")), [log], hosts).after(well)
    return p


class Given:
    """Hosts that exist already. Only their SSH port need be reachable, so the balancer on this machine reaches the service
    through connections to them."""

    def __init__(self, home, file, plan):
        defaults = {"http_port": 8080, "towpath_root": ""}
        applied = towpath.provisioner(Inventory(file=str(file), defaults=defaults), environment=ENVIRONMENT).apply()
        self.inventory = applied.environment.inventory
        self.forwards = []
        self.port = 1 if plan else free_port(home)
        self.address = f"127.0.0.1:{self.port}"
        if plan:
            return
        balancer = towpath.balancer(front(home, self.port), environment=ENVIRONMENT)
        for host in self.inventory.hosts:
            port = int(host.vars.get("http_port", self.inventory.vars["http_port"]))
            forward = towpath.connect(host).forward(port)
            self.forwards.append(forward)
            balancer.add(towpath.Backend(name=host.name, address="127.0.0.1", port=forward.port))


def serving(address):
    """Asks the service which version answers, often enough to meet every host."""
    versions = set()
    for _ in range(9):
        connection = http.client.HTTPConnection(*address.rsplit(":", 1), timeout=5)
        try:
            connection.request("GET", "/")
            versions.add(connection.getresponse().read().decode())
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
    return " and ".join(sorted(versions))


def summarise(report, address, home):
    by_name = {step.name: step for step in report.steps}
    numbers = by_name["traffic"].outputs
    rollouts = [by_name[name].outputs["report"] for name in STEPS_TO_SHOW if "report" in by_name[name].outputs]
    return {
        "run": report.run,
        "resumed": report.resumed,
        "hosts": len({target["host"] for rollout in rollouts for target in rollout["targets"]}),
        "steps": [
            {"name": s.name, "state": s.state, "seconds": s.seconds, "attempts": s.attempts} for s in report.steps
        ],
        "requests": {name: numbers.get(name, 0) for name in ("sent", "failed", "per_second")},
        "releases": [{"release": rollout["to"], "outcome": rollout["outcome"]} for rollout in rollouts],
        "serving": serving(address),
        "seconds": report.seconds,
        "run_page": str(home / "runs" / f"{report.run}.html"),
        "journal": str(home / "runs" / f"{report.run}.jsonl"),
    }


def is_well(summary):
    outcomes = {release["release"]: release["outcome"] for release in summary["releases"]}
    kept, refused = {"deployed", "unchanged", "superseded"}, {"rolled_back", "refused"}
    steps = all(s["state"] in ("done", "unchanged") or s["name"] == LAST_RELEASE for s in summary["steps"])
    return (
        steps
        and outcomes.get("v1") in kept
        and outcomes.get("v2") in kept
        and outcomes.get("v3") in refused
        and summary["serving"] == "v2"
        and summary["requests"]["failed"] == 0 < summary["requests"]["sent"]
    )


def show(summary):
    print("\nsteps")
    for step in summary["steps"]:
        state = (step["state"] or "not finished").replace("_", " ")
        print(f"  {step['name']:<14} {state:<12} {step['seconds']:>7.2f} s")
    print(f"releases, on {summary['hosts']} hosts")
    for release in summary["releases"]:
        print(f"  {release['release']} {release['outcome'].replace('_', ' ')}")
    requests = summary["requests"]
    print(f"requests  {requests['sent']} sent, {requests['failed']} failed, {requests['per_second']:.0f} a second")
    print(f"serving   {summary['serving'] or 'nothing'}")
    print(f"run page  {summary['run_page']}\njournal   {summary['journal']}")
    print(f"{'done' if is_well(summary) else 'NOT AS IT SHOULD BE'} in {summary['seconds']:.1f} s")


def destroy(home):
    """Ends hosts and balancer, and removes what was kept. What was put on hosts of an inventory stays there."""
    towpath.provisioner(fleet(home), environment=ENVIRONMENT).destroy()
    shutil.rmtree(home, ignore_errors=True)


def arguments():
    parser = argparse.ArgumentParser(prog="quickstart.py", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end and nothing else")
    parser.add_argument("--plan", action="store_true", help="print what a run would do; touches nothing")
    parser.add_argument("--inventory", metavar="FILE", help="use the hosts of this Ansible inventory")
    parser.add_argument("--crash-at", metavar="STEP", help="die (SIGABRT) inside this step, after its first intent")
    parser.add_argument("--store", metavar="PATH", type=pathlib.Path, help="the folder where everything is kept")
    parser.add_argument("--destroy", action="store_true", help="end the hosts and the balancer, remove the folder")
    return parser.parse_args()


def main():
    options = arguments()
    home = (options.store or HERE.parent / "target" / "quickstart-py").absolute()
    if options.destroy:
        destroy(home)
        return 0
    given = Given(home, options.inventory, options.plan) if options.inventory else None
    pipeline = build(home, given)
    database = home / "store.db"
    if options.plan:
        # A plan of what was never run has no state to look at, and makes none.
        store = f"sqlite:{database}" if database.exists() else "memory:"
        print(pipeline.plan(store, environment=ENVIRONMENT))
        return 0
    if options.crash_at and options.crash_at not in [s["name"] for s in pipeline.data()["steps"]]:
        raise towpath.InvalidInputError(f"there is no step {options.crash_at!r}")

    def listen(event):
        # A step that an earlier process has finished is told, too, when the run goes on.
        if event.event == "step_finished" and event.step == LAST_RELEASE:
            TRAFFIC.over.set()

    engine = towpath.Engine(
        f"sqlite:{database}",
        environment=ENVIRONMENT,
        label="quickstart.py",
        on_event=listen,
        progress=not options.json,
        runs=home / "runs",
        crash_at=options.crash_at,
    )
    report = engine.run(pipeline)
    address = given.address if given else report.step("fleet").outputs["balancer"]
    summary = summarise(report, address, home)
    print(json.dumps(summary)) if options.json else show(summary)
    return 0 if is_well(summary) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except towpath.Error as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, (towpath.InvalidInputError, towpath.NotFoundError)) else 1)
