"""The same calls as `rust_twin.rs`, in Python: `python_twin.py FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, TypeVar

import towpath
from towpath import exceptions
from towpath.local import Local, LocalArchive, LocalBalancer, LocalLogSink, LocalMonitor
from towpath.playbook import Playbook

T = TypeVar("T")
NOTES: Dict[str, Any] = {}


def take(name: str, call: Callable[[], T]) -> Optional[T]:
    assert name not in NOTES, name
    try:
        value = call()
    except towpath.Error as error:
        NOTES[name] = {"error": exceptions.to_record(error, name)}
        return None
    NOTES[name] = {"ok": value}
    return value


def some(value: Optional[T]) -> T:
    assert value is not None
    return value


def local(folder: Path) -> Local:
    balancer = towpath.LocalBalancerConfig(state_dir=str(folder / "state"))
    return Local(hosts=2, name="web", ports=["http_port"], state_dir=str(folder / "state"), balancer=balancer)


def gate(*checks: towpath.Check) -> towpath.Gate:
    return towpath.Gate(checks=list(checks), fall=1)


def check(name: str, *argv: str) -> towpath.Check:
    return towpath.command_check(argv, name=name, timeout_s=2.0)


def observations() -> List[Dict[str, Any]]:
    return [towpath.metric("requests", 2.5), towpath.notice("began")]


def record(message: str) -> towpath.LogRecord:
    return towpath.LogRecord(at=1, severity="warning", source="twin", message=message)


def release_dirs() -> towpath.ssh.ReleaseDirs:
    return towpath.ssh.ReleaseDirs(root="/srv/web", restart=["true"], stop=["true"])


def provisioner(folder: Path, at: Dict[str, Any]) -> towpath.Environment:
    p = towpath.provisioner(local(folder), **at)
    take("provisioner.capabilities", lambda: towpath.types.Capabilities(verbs=p.capabilities()))
    take("provisioner.preflight", p.preflight)
    take("provisioner.plan", p.plan)
    made = some(take("provisioner.apply", p.apply))
    take("provisioner.plan again", p.plan)
    take("provisioner.apply again", lambda: p.apply().changed)
    take("provisioner.probe", p.probe)
    return made.environment


def configurator(at: Dict[str, Any], inventory: towpath.Inventory) -> None:
    c = towpath.configurator("playbook", {"file": "site.yml"}, **at)
    take("configurator.capabilities", lambda: towpath.types.Capabilities(verbs=c.capabilities()))
    take("configurator.preflight", c.preflight)
    take("configurator.plan", lambda: c.plan(inventory))
    take("configurator.apply", lambda: c.apply(inventory, limit="web-1"))
    take("configurator.apply with vars", lambda: c.apply(inventory, extra_vars={"greeting": "hello"}))
    take("configurator.apply to nobody", lambda: c.apply(inventory, limit="nobody"))
    take("configurator.digest", c.digest)


def image_builder(at: Dict[str, Any], inventory: towpath.Inventory) -> None:
    try:
        b = towpath.image_builder("local-archive", {}, **at)
    except towpath.Error as error:
        NOTES["image_builder"] = {"error": exceptions.to_record(error, "image_builder")}
        return
    image = towpath.ImageInput(name="web", base={"host": inventory.hosts[0]}, artifacts=["archive"])
    take("image_builder.capabilities", lambda: towpath.types.Capabilities(verbs=b.capabilities()))
    take("image_builder.preflight", b.preflight)
    take("image_builder.plan", lambda: b.plan(image))
    built = take("image_builder.build", lambda: b.build(image))
    if built is not None and built.artifacts:
        artifact = built.artifacts[0]
        take("image_builder.probe", lambda: b.probe(artifact))
        take("image_builder.contents", lambda: b.contents(artifact))
        take("image_builder.remove", lambda: b.remove(artifact))
        take("image_builder.remove again", lambda: b.remove(artifact))


def deployer(folder: Path, at: Dict[str, Any], inventory: towpath.Inventory) -> None:
    d = towpath.deployer(release_dirs(), **at)
    host = inventory.hosts[0]
    artifact = towpath.Artifact(name="app", kind="archive", id=str(folder / "app.sh"), digest="")
    release = towpath.Release(service="web", version="v1", artifact=artifact)
    job = towpath.types.GroupJob(id="1")
    take("deployer.capabilities", lambda: towpath.types.Capabilities(verbs=d.capabilities()))
    take("deployer.preflight", d.preflight)
    take("deployer.stage", lambda: d.stage(host, release))
    take("deployer.stage again", lambda: d.stage(host, release))
    take("deployer.activate", lambda: d.activate(host, release))
    take("deployer.probe", lambda: d.probe(host))
    take("deployer.deactivate", lambda: d.deactivate(host))
    take("deployer.start", lambda: d.start("web", inventory, release))
    take("deployer.follow", lambda: d.follow(job))
    take("deployer.cancel", lambda: d.cancel(job))
    take("deployer.probe_group", lambda: d.probe_group("web", inventory))
    take("deployer.suspend", lambda: d.suspend("web"))
    take("deployer.resume", lambda: d.resume("web"))
    entry = {
        "environment": "default",
        "release": {"service": "web", "version": "v1"},
        "outcome": "deployed",
        "seen_healthy": True,
        "run": "r1",
        "started_at": 1,
    }
    take("deployer.record", lambda: d.record(host, towpath.types.Deployment.of(entry)))
    take("deployer.recorded", lambda: d.recorded(host, "web"))


def monitor(at: Dict[str, Any], inventory: towpath.Inventory) -> None:
    m = towpath.monitor(LocalMonitor(), **at)
    low = towpath.metric_check("requests", max=3.0, timeout_s=2.0)
    silence = towpath.Silence(reason="twin", for_s=60)
    take("monitor.capabilities", lambda: towpath.types.Capabilities(verbs=m.capabilities()))
    take("monitor.preflight", m.preflight)
    take("monitor.record", lambda: m.record(observations()))
    take("monitor.assess", lambda: m.assess(gate(check("up", "true"), low), inventory))
    take("monitor.assess fails", lambda: m.assess(gate(check("down", "false")), inventory))
    handle = take("monitor.silence", lambda: m.silence(silence))
    if handle is not None:
        take("monitor.unsilence", lambda: m.unsilence(some(handle)))


def log_sink(folder: Path, at: Dict[str, Any]) -> None:
    sink = towpath.log_sink(LocalLogSink(path="log.jsonl"), **at)
    take("log_sink.capabilities", lambda: towpath.types.Capabilities(verbs=sink.capabilities()))
    take("log_sink.preflight", sink.preflight)
    take("log_sink.append", lambda: sink.append([record("one"), record("two")]))
    take("log_sink.flush", sink.flush)
    take("log_sink.close", sink.close)
    take("log_sink.append after close", lambda: sink.append([record("three")]))
    take("log_sink file", lambda: (folder / "log.jsonl").read_text())


def balancing(folder: Path, at: Dict[str, Any]) -> None:
    balancer = towpath.balancer(LocalBalancer(state_dir=str(folder / "state")), **at)
    backend = towpath.types.Backend(name="web-1", address="127.0.0.1", port=9)
    take("balancer.capabilities", lambda: towpath.types.Capabilities(verbs=balancer.capabilities()))
    take("balancer.preflight", balancer.preflight)
    take("balancer.add", lambda: balancer.add(backend))
    take("balancer.drain", lambda: balancer.drain("web-1"))
    take("balancer.drain unknown", lambda: balancer.drain("web-9"))
    take("balancer.wait_idle", lambda: balancer.wait_idle("web-1", 5.0))
    take("balancer.backends", balancer.backends)
    take("balancer.remove", lambda: balancer.remove("web-1"))


def everything(folder: Path) -> towpath.Pipeline:
    p = towpath.Pipeline("all")
    version = p.parameter("version", "v1")
    p.connector(towpath.ssh.Ssh(host_keys="accept_new"))
    fleet = p.provision("fleet", local(folder)).timeout(60)
    site = (
        p.configure("site", Playbook(file="site.yml"), fleet.inventory())
        .var("greeting", "hi")
        .limit("web-1")
        .retry(towpath.RetryPolicy(attempts=2, wait_s=1.0, factor=2.0, max_wait_s=60.0))
        .lease("hosts")
    )
    image = towpath.ImageInput(name="web", base={"image": "debian"}, artifacts=["archive"])
    baked = p.build_image("image", LocalArchive(), image).after(site)
    release = towpath.Release(service="web", version=version, artifact=baked.artifact("archive"))
    deploy = p.deploy("deploy", release_dirs(), release, fleet.inventory()).rollout(towpath.Rolling(batch="50%"))
    bake = (
        p.gate("bake", LocalMonitor(), gate(check("up", "true")), fleet.inventory())
        .after(deploy)
        .on_fail(towpath.rollback(deploy))
        .approval("sure?")
    )
    p.record("tell", LocalMonitor(), observations()).after(bake).on_fail("continue")
    p.ship_logs("logs", LocalLogSink(path="log.jsonl"), [], fleet.inventory()).after(bake)
    own = p.call("own", "own/v1", looks_like_a_reference={"from": "nowhere"}, deep=[fleet.environment()])
    own.declare("count", "number").rerun_on_interrupt()
    return p


def pipelines(folder: Path, at: Dict[str, Any]) -> None:
    take("pipeline.everything", everything(folder).data)
    p = towpath.Pipeline("small")
    fleet = p.provision("fleet", local(folder))
    p.configure("site", Playbook(file="site.yml"), fleet.inventory())
    p.gate("up", LocalMonitor(), gate(check("up", "true")), fleet.inventory())
    engine = towpath.Engine(f"sqlite:{folder / 'store.db'}", environment=at["environment"], base_dir=folder)
    plan = some(take("engine.plan", lambda: engine.plan(p)))
    report = some(take("engine.apply", lambda: engine.apply(plan)))
    take("engine.run", lambda: engine.run(p))
    take("engine.status", lambda: engine.status(report.run))
    take("engine.resume", lambda: engine.resume(report.run))
    take("engine.preflight", lambda: engine.preflight(p))
    take("engine.sweep", lambda: len(engine.sweep()))
    take("engine.leases", engine.leases)
    rollout = engine.rollout("web")
    take("engine.rollout status", rollout.status)
    take("engine.rollout waiting", rollout.waiting)
    take("engine.rollout ledger", rollout.ledger)
    take("engine.rollout pause", lambda: rollout.pause("lunch", by="anna"))
    take("engine.destroy", lambda: engine.destroy(p))
    take("artifact", lambda: towpath.file_artifact("app", folder / "app.sh"))
    take("engine.approve", lambda: engine.approve(report.run, "nothing", by="twin"))


def main() -> None:
    folder = Path(sys.argv[1])
    at: Dict[str, Any] = {"environment": "twin", "base_dir": folder, "store": f"sqlite:{folder / 'store.db'}"}
    environment = provisioner(folder, at)
    configurator(at, environment.inventory)
    image_builder(at, environment.inventory)
    deployer(folder, at, environment.inventory)
    monitor(at, environment.inventory)
    log_sink(folder, at)
    balancing(folder, at)
    p = towpath.provisioner(local(folder), **at)
    take("provisioner.destroy", p.destroy)
    take("provisioner.destroy again", p.destroy)
    pipelines(folder, at)
    print(json.dumps(NOTES))


if __name__ == "__main__":
    main()
