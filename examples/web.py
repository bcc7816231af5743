"""The README's pipeline: python web.py, from this folder."""
import towpath
from towpath import local, playbook, ssh

p = towpath.Pipeline("web")
fleet = p.provision("fleet", local.Local(hosts=3, name="web", ports=["http_port"]))
site = p.configure("site", playbook.Playbook(file="quickstart/site.yml"), fleet.inventory())
first = {"name": "web", "base": {"host_of": {"inventory": fleet.inventory()}}, "artifacts": ["archive"]}
image = p.build_image("image", local.LocalArchive(), first).after(site)
webctl = lambda verb: ["/opt/web/webctl", verb]
release = towpath.Release(service="web", version="v1", artifact=towpath.file_artifact("web", "quickstart/serve.py"))
to = ssh.ReleaseDirs(root="/srv/web", file_name="web", restart=webctl("restart"), running=webctl("status"))
roll = p.deploy("roll out", to, release, fleet.inventory()).after(image).rollout(towpath.Rolling(batch=1))
well = towpath.Gate(checks=[towpath.http_check("{{ http_port }}", "/healthz")])
p.gate("well", local.LocalMonitor(), well, fleet.inventory()).after(roll).on_fail(towpath.rollback(roll))

print(p.plan("sqlite:.towpath/store.db"))
p.run("sqlite:.towpath/store.db")  # run it again after a crash: it goes on
