"""A playbook from a script: its events as they come."""

from pathlib import Path
from typing import Iterator

import pytest

import towpath
from towpath.local import Local

SITE = """
- hosts: all
  gather_facts: false
  tasks:
    - name: write
      copy: {content: "hello\\n", dest: /srv/greeting}
    - name: ask
      command: echo {{ item }}
      loop: [one, two]
      changed_when: false
    - name: stop here
      fail: {msg: told to}
      when: fails | default(false)
    - name: wait
      command: sleep 600
      when: waits | default(false)
"""


@pytest.fixture
def hosts(tmp_path: Path) -> "Iterator[towpath.Inventory]":
    made = towpath.provisioner(Local(hosts=2, name="p", state_dir=str(tmp_path / "local")))
    yield made.apply().environment.inventory
    made.destroy()


def test_events_come_as_they_happen_and_a_second_run_changes_nothing(hosts: "towpath.Inventory", tmp_path: Path) -> None:
    site = tmp_path / "site.yml"
    site.write_text(SITE)
    results = [e for e in towpath.play(site, hosts) if e.event == "task_result" and e.item is None]
    assert {(e.host, e.task, e.status) for e in results if e.task == "write"} == {("p-1", "write", "changed"), ("p-2", "write", "changed")}
    play = towpath.play(site, hosts, limit="p-1")
    assert [e.status for e in play if e.event == "task_result" and e.task == "write" and e.host == "p-1"] == ["ok"]
    assert play.result().hosts["p-1"].changed == 0


def test_a_failure_is_raised_at_the_end_and_leaving_early_ends_what_runs(hosts: "towpath.Inventory", tmp_path: Path) -> None:
    site = tmp_path / "site.yml"
    site.write_text(SITE)
    seen = []
    with pytest.raises(towpath.ToolFailedError, match="stop here"):
        for event in towpath.play(site, hosts, extra_vars={"fails": True}):
            seen.append(event)
    assert any(e.event == "task_result" and e.status == "failed" for e in seen)
    play = towpath.play(site, hosts, extra_vars={"waits": True})
    for event in play:
        if event.event == "task_result" and event.task == "ask":
            break
    with pytest.raises(towpath.CancelledError):
        play.result()


def test_bad_input_is_named_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(towpath.InvalidInputError) as failed:
        towpath.play("site.yml", tmp_path / "nowhere")
    assert "nowhere" in str(failed.value)
