"""A laptop's copy of an environment, as `dev_environment/main.rs`: python dev_environment.py up, or down."""
import sys
from pathlib import Path

import towpath
from towpath import docker, local, playbook

HERE = Path(__file__).resolve().parent / "dev_environment"

p = towpath.Pipeline("dev_environment")
dev = p.provision("dev", docker.DockerEnvironment(compose=str(HERE / "compose.yml")))
site = p.configure("site", playbook.Playbook(file=str(HERE / "site.yml")), dev.inventory())
# Asked inside of each container, under the name that they all know it by.
asks = "import urllib.request as r; r.urlopen('http://web:8000/', timeout=1)"
answers = towpath.Gate(checks=[towpath.command_check(["python3", "-c", asks])])
p.gate("answers", local.LocalMonitor(), answers, dev.inventory()).after(site)

if __name__ == "__main__":
    store = sys.argv[2] if len(sys.argv) > 2 else "sqlite:.towpath/store.db"
    if sys.argv[1:2] == ["down"]:
        p.destroy(store, environment="laptop")
        print("down")
    else:
        report = p.run(store, environment="laptop")
        print(f"up: http://{report.step('dev').outputs['ports']['web']['8000/tcp']}/")
