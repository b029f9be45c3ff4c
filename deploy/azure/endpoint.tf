resource "azurerm_private_endpoint" "hub" {
  name                = "${var.name}-hub"
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  subnet_id           = azurerm_subnet.endpoints.id
  tags                = var.tags

  private_service_connection {
    name                           = "hub"
    private_connection_resource_id = var.iothub_id
    subresource_names              = ["iotHub"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "default"
    private_dns_zone_ids = [for zone in azurerm_private_dns_zone.hub : zone.id]
  }
}

# The hub's own name, and its built-in event hub's.
resource "azurerm_private_dns_zone" "hub" {
  for_each            = toset(["privatelink.azure-devices.net", "privatelink.servicebus.windows.net"])
  name                = each.key
  resource_group_name = azurerm_resource_group.this.name
  tags                = var.tags
}

resource "azurerm_private_dns_zone_virtual_network_link" "hub" {
  for_each              = azurerm_private_dns_zone.hub
  name                  = var.name
  resource_group_name   = azurerm_resource_group.this.name
  private_dns_zone_name = each.value.name
  virtual_network_id    = azurerm_virtual_network.this.id
  registration_enabled  = false
  # Other people's resources of the same type still resolve.
  resolution_policy = "NxDomainRedirect"
}
