"""Providers that are Python classes, in pipelines that Rust runs, and alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import steps_of_tests as own
import towpath
from towpath import Pipeline, Provider


def release(version: str) -> towpath.Release:
    return towpath.Release(service="web", version=version)


def test_one_of_each_kind_in_one_pipeline(tmp_path: Path) -> None:
    folder = str(tmp_path)
    own.Lines.lines.clear()
    p = Pipeline("classes")
    version = p.parameter("version", "v1")
    fleet = p.provision("fleet", Provider("provisioner", "paper", folder=folder, hosts=2))
    site = p.configure("site", Provider("configurator", "pencil", folder=folder, text="hi"), fleet.inventory())
    image = towpath.ImageInput(name="web", base={"image": "paper"}, artifacts=["archive"])
    baked = p.build_image("image", Provider("image_builder", "copier", folder=folder), image).after(site)
    sent = towpath.Release(service="web", version=version, artifact=baked.artifact("archive"))
    health = towpath.Gate(checks=[towpath.tcp_check(80)])
    eye = Provider("monitor", "eye", folder=folder, bad="v2")
    deploy = p.deploy("deploy", Provider("deployer", "sticker", folder=folder), sent, fleet.inventory())
    deploy.rollout(towpath.Rolling(batch=1, health=health, monitor=eye))
    p.gate("bake", eye, health, fleet.inventory()).after(deploy)
    p.record("tell", eye, [towpath.metric("n", 1), towpath.notice("x")]).after(deploy)
    records = [towpath.LogRecord(at=1, message="one"), towpath.LogRecord(at=2, message="two")]
    p.ship_logs("logs", Provider("log_sink", "list"), records=records).after(deploy)

    engine = towpath.Engine("memory:", environment="desk")
    assert not engine.plan(p).is_empty
    report = engine.run(p)
    assert report.state == "done", report
    assert {step.name: step.state for step in report.steps} == {
        "fleet": "done",
        "site": "done",
        "image": "done",
        "deploy": "done",
        "bake": "done",
        "tell": "done",
        "logs": "done",
    }
    assert report.step("fleet").outputs["environment"]["name"] == "desk"
    assert (tmp_path / "paper-1").read_text() == "hi"
    assert (tmp_path / "paper-2.current").read_text() == "v1"
    assert (tmp_path / "seen").read_text() == "metric\nnotice"
    assert own.Lines.lines == ["one", "two"]

    # Its monitor refuses v2: the rollout goes back.
    report = engine.run(p, {"version": "v2"})
    assert report.state == "rolled_back"
    assert (tmp_path / "paper-1.current").read_text() == "v1"
    assert report.step("fleet").state == "unchanged"


def test_alone(tmp_path: Path) -> None:
    paper = towpath.provisioner("paper", {"folder": str(tmp_path)}, environment="desk")
    assert paper.capabilities() == ["apply", "destroy", "plan", "probe"]
    assert paper.preflight() == {"ok": [], "warnings": []}
    assert [change.target for change in paper.plan().changes] == ["paper-1"]
    made = paper.apply()
    assert (made.changed, made.environment.inventory.hosts[0].name) == (1, "paper-1")
    assert paper.apply().changed == 0
    assert paper.probe().drift.is_empty
    assert paper.destroy().changed == 1


def test_a_wrong_config_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(towpath.InvalidInputError, match="unknown field `hots`; did you mean `hosts`"):
        Provider("provisioner", "paper", folder=str(tmp_path), hots=2)
    with pytest.raises(towpath.InvalidInputError, match="the field `folder` is missing"):
        Provider("provisioner", "paper")
    with pytest.raises(towpath.InvalidInputError, match="did you mean `paper`"):
        Provider("provisioner", "papr", folder=str(tmp_path))


def test_what_it_lacks_is_unsupported(tmp_path: Path) -> None:
    copier = towpath.image_builder("copier", {"folder": str(tmp_path)})
    artifact = towpath.Artifact(name="x", kind="archive", id="x", digest="")
    with pytest.raises(towpath.UnsupportedError, match="`Copier` has no `probe`"):
        copier.probe(artifact)
    with pytest.raises(towpath.UnsupportedError):
        towpath.monitor("eye", {"folder": "x"}).silence(towpath.Silence(reason="x", for_s=1))
    for role in ("balancer", "connector", "nonsense"):
        with pytest.raises(towpath.InvalidInputError, match="can't be"):
            towpath.provider(role, "mine")


def test_a_wrong_result_names_verb_and_provider(tmp_path: Path) -> None:
    @towpath.provider("provisioner", "torn")
    class Torn:
        def plan(self, cx: towpath.StepContext) -> object:
            return {"chnges": 1}

        def destroy(self, cx: towpath.StepContext) -> object:
            return object()

    torn = towpath.provisioner("torn")
    with pytest.raises(towpath.InvalidInputError, match="what `plan` of `torn` returned is wrong"):
        torn.plan()
    with pytest.raises(towpath.InvalidInputError, match="can't be written as JSON"):
        torn.destroy()
