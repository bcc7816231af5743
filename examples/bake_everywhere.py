"""One playbook, a Docker image, a Vagrant box and an AMI, proven equal, as `bake_everywhere/main.rs`: python bake_everywhere.py --help."""
import argparse
from pathlib import Path

import towpath
from towpath import aws, docker, playbook, vagrant

BASE = "towpath/debian:box-1"  # `.ci/box-image` makes it
ALLOWED = {
    "who may log in differs": ["file /home/*/.ssh/**"],
    "what Vagrant wants of a box": ["user vagrant", "group vagrant", "file /home/vagrant**", "file /etc/sudoers.d/vagrant"],
    "how its disk boots": [
        "file /boot/grub**",
        "file /etc/fstab",
        "file /etc/network/interfaces**",
        "file /etc/systemd/system/**towpath-host-keys.service",
        "unit towpath-host-keys.service",
    ],
}


def image(base: object, kind: str) -> towpath.types.ImageInput:
    site = playbook.Playbook(file=str(Path(__file__).resolve().parent / "bake_everywhere/site.yml"))
    return towpath.types.ImageInput(name="web", base=base, configure=[site], artifacts=[kind])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--store", default="bake_everywhere", help="where boxes and records are kept")
    options.add_argument("--ami", help="bake an AMI, too, from this one: an id, or OWNER/NAME-*")
    options.add_argument("--ssh-from", default="127.0.0.0/8", help="who may reach the instance that is baked")
    given = options.parse_args()
    store = Path(given.store).resolve()

    bake = towpath.Bake(store / "records").source(Path(__file__).resolve().parent)
    bake.image("docker", towpath.image_builder(docker.DockerImage()), image({"image": BASE}, "docker_image"))
    if given.ami:  # credentials, region and endpoint from the environment, as AWS's own tools take them
        builder = towpath.image_builder(aws.AwsImage(ssh_from=[given.ssh_from]))
        bake.image("aws", builder, image({"image": given.ami}, "ami"))
    for reason, subjects in ALLOWED.items():
        for subject in subjects:
            bake.allow(subject, reason)
    for file in ("passwd", "group", "gshadow"):  # users and groups are also compared one by one
        bake.allow(f"file /etc/{file}", "what Vagrant wants of a box", property="content")

    # The box is that of a host: a container that is thrown away.
    containers = {"web": docker.ContainerSpec(image=BASE, command=["sleep", "infinity"])}
    machine = towpath.provisioner(docker.DockerEnvironment(containers=containers), environment="bake-everywhere")
    try:
        host = machine.apply().environment.inventory.hosts[0]
        boxes = towpath.image_builder(vagrant.VagrantBox(dir=str(store / "boxes")))
        print(bake.image("vagrant", boxes, image({"host": host}, "vagrant_box")).run(), end="")
    finally:
        machine.destroy()


if __name__ == "__main__":
    main()
