# Containers with what is built into Terraform: no provider to download. With the Docker provider at hand it would be docker_container.

terraform {
  backend "local" {}
}

variable "image" {
  description = "A local image with /bin/sh. It is started with `sleep`."
  type        = string
}

variable "hosts" {
  type = number
}

variable "prefix" {
  type = string
}

resource "terraform_data" "web" {
  count = var.hosts
  input = {
    name = "${var.prefix}-${count.index + 1}"
    zone = ["a", "b", "c"][count.index % 3]
  }
  triggers_replace = [var.image]

  # Values go through the environment, quoted: no name or image becomes a piece of script.
  provisioner "local-exec" {
    command     = "docker run --detach --init --network none --label towpath.example=terraform_fleet --name \"$NAME\" -- \"$IMAGE\" sleep infinity"
    environment = { NAME = self.input.name, IMAGE = var.image }
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "docker rm --force -- \"$NAME\""
    environment = { NAME = self.input.name }
  }
}

output "web" {
  value = [for host in terraform_data.web : host.output]
}
