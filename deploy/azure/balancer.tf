resource "azurerm_public_ip" "front" {
  name                = "${var.name}-front"
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  allocation_method   = "Static"
  sku                 = "Standard"
  zones               = var.zones
  tags                = var.tags

  lifecycle {
    # It stands in the firewalls of everybody who allowed it.
    prevent_destroy = true
  }
}

resource "azurerm_lb" "front" {
  name                = var.name
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  sku                 = "Standard"
  tags                = var.tags

  frontend_ip_configuration {
    name                 = "front"
    public_ip_address_id = azurerm_public_ip.front.id
  }
}

resource "azurerm_lb_backend_address_pool" "gateways" {
  name            = "gateways"
  loadbalancer_id = azurerm_lb.front.id
}

# A gateway that drains answers 503 here, so the balancer sends new devices elsewhere while the connected ones go on.
resource "azurerm_lb_probe" "ready" {
  name                = "ready"
  loadbalancer_id     = azurerm_lb.front.id
  protocol            = "Http"
  port                = 8080
  request_path        = "/ready"
  interval_in_seconds = 5
  number_of_probes    = 2
}

resource "azurerm_lb_rule" "devices" {
  for_each                       = local.ports
  name                           = "port-${each.key}"
  loadbalancer_id                = azurerm_lb.front.id
  protocol                       = "Tcp"
  frontend_port                  = each.value
  backend_port                   = each.value
  frontend_ip_configuration_name = "front"
  backend_address_pool_ids       = [azurerm_lb_backend_address_pool.gateways.id]
  probe_id                       = azurerm_lb_probe.ready.id
  # The balancer passes the source address through; longer than the keep-alive of MQTT clients, and told to both ends when it ends.
  idle_timeout_in_minutes = 30
  tcp_reset_enabled       = true
  # Outgoing traffic has a rule of its own.
  disable_outbound_snat = true
}

resource "azurerm_lb_outbound_rule" "gateways" {
  name                     = "outbound"
  loadbalancer_id          = azurerm_lb.front.id
  protocol                 = "Tcp"
  backend_address_pool_id  = azurerm_lb_backend_address_pool.gateways.id
  allocated_outbound_ports = 1024

  frontend_ip_configuration {
    name = "front"
  }
}
