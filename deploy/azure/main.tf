# The front door of a hub that is closed to the public: one static address, a standard balancer, a scale set of gateways, and a private
# endpoint to the hub. Thousands of customers allow one address in their firewalls.

resource "azurerm_resource_group" "this" {
  name     = var.name
  location = var.location
  tags     = var.tags
}

locals {
  ports = { for port in var.ports : tostring(port) => port }

  cloud_init = templatefile("${path.module}/cloud-init.yaml.tftpl", {
    manifest       = var.manifest
    join_token     = var.join_token
    package_url    = var.package_url
    package_sha256 = var.package_sha256
  })
}
