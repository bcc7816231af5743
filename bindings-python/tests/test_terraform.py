"""The real Terraform, from Python."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import towpath

MAIN = """
variable "n" {}
resource "terraform_data" "web" {
  count = var.n
  input = { name = "web-${count.index + 1}", address = "127.0.0.1" }
}
output "web" { value = terraform_data.web[*].output }
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if shutil.which("terraform") is None:
        print("NOT RUN: Terraform from Python: install terraform 1.9 or later and put it on PATH")
        pytest.skip("no terraform")
    rc = tmp_path / "terraformrc"
    rc.write_text("")
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(rc))
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra/main.tf").write_text(MAIN)
    return tmp_path / "infra"


def test_hosts_come_and_go(module: Path) -> None:
    config = towpath.terraform.Terraform(module=str(module), vars={"n": 2}, hosts=[towpath.terraform.HostsFrom(output="web")])
    fleet = towpath.provisioner(config)
    assert [c.action for c in fleet.plan().changes][:2] == ["create", "create"]
    made = fleet.apply()
    assert made.changed == 2
    assert [h.name for h in made.environment.inventory.hosts] == ["web-1", "web-2"]
    assert fleet.apply().changed == 0
    assert fleet.destroy().changed == 2


def test_a_mistake_is_an_exception_with_its_place(module: Path) -> None:
    fleet = towpath.provisioner(towpath.terraform.Terraform(module=str(module), vars={"m": 2, "n": 1}))
    with pytest.raises(towpath.InvalidInputError, match="no variable `m`; did you mean `n`"):
        fleet.apply()
    (module / "main.tf").write_text("output \"x\" { value = nope.x }\n")
    with pytest.raises(towpath.InvalidInputError, match="main.tf:1:"):
        fleet.plan()
