resource "azurerm_linux_virtual_machine_scale_set" "gateways" {
  name                = var.name
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  sku                 = var.machine_size
  instances           = var.instances.initial
  zones               = var.zones
  zone_balance        = length(var.zones) > 1
  admin_username      = var.admin_user
  custom_data         = base64encode(local.cloud_init)
  upgrade_mode        = "Rolling"
  health_probe_id     = azurerm_lb_probe.ready.id
  overprovision       = false
  tags                = var.tags

  admin_ssh_key {
    username   = var.admin_user
    public_key = var.admin_ssh_public_key
  }

  source_image_reference {
    publisher = "Debian"
    offer     = "debian-12"
    sku       = "12-gen2"
    version   = "latest"
  }

  os_disk {
    caching              = "ReadOnly"
    storage_account_type = "Premium_LRS"
  }

  network_interface {
    name                          = "main"
    primary                       = true
    enable_accelerated_networking = true

    ip_configuration {
      name                                   = "main"
      primary                                = true
      subnet_id                              = azurerm_subnet.gateways.id
      load_balancer_backend_address_pool_ids = [azurerm_lb_backend_address_pool.gateways.id]
    }
  }

  rolling_upgrade_policy {
    max_batch_instance_percent              = 34
    max_unhealthy_instance_percent          = 34
    max_unhealthy_upgraded_instance_percent = 34
    pause_time_between_batches              = "PT1M"
    prioritize_unhealthy_instances_enabled  = true
  }

  automatic_instance_repair {
    enabled      = true
    grace_period = "PT10M"
  }

  # A machine that goes has this long to drain: systemd stops the gateway, which ends when its last connection has or the time is up.
  termination_notification {
    enabled = true
    timeout = "PT10M"
  }

  lifecycle {
    # Autoscale changes it.
    ignore_changes = [instances]

    precondition {
      condition     = (var.manifest == "") != (var.join_token == "")
      error_message = "Give exactly one of manifest and join_token."
    }
  }

  depends_on = [azurerm_lb_rule.devices, azurerm_lb_outbound_rule.gateways]
}

resource "azurerm_monitor_autoscale_setting" "gateways" {
  name                = var.name
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  target_resource_id  = azurerm_linux_virtual_machine_scale_set.gateways.id
  tags                = var.tags

  profile {
    name = "load"

    capacity {
      default = var.instances.initial
      minimum = var.instances.minimum
      maximum = var.instances.maximum
    }

    rule {
      metric_trigger {
        metric_name        = "Percentage CPU"
        metric_resource_id = azurerm_linux_virtual_machine_scale_set.gateways.id
        time_grain         = "PT1M"
        statistic          = "Average"
        time_window        = "PT5M"
        time_aggregation   = "Average"
        operator           = "GreaterThan"
        threshold          = 60
      }

      scale_action {
        direction = "Increase"
        type      = "ChangeCount"
        value     = 1
        cooldown  = "PT5M"
      }
    }

    # Slowly down: devices stay connected for days, and each machine that goes sends its devices to reconnect.
    rule {
      metric_trigger {
        metric_name        = "Percentage CPU"
        metric_resource_id = azurerm_linux_virtual_machine_scale_set.gateways.id
        time_grain         = "PT1M"
        statistic          = "Average"
        time_window        = "PT30M"
        time_aggregation   = "Average"
        operator           = "LessThan"
        threshold          = 20
      }

      scale_action {
        direction = "Decrease"
        type      = "ChangeCount"
        value     = 1
        cooldown  = "PT30M"
      }
    }
  }
}
