output "address" {
  description = "The one address to allow in firewalls, and to which devices' resolvers lead the hub's name."
  value       = azurerm_public_ip.front.ip_address
}

output "hub_private_address" {
  description = "The hub's address inside the virtual network: the target of the gateway's group."
  value       = azurerm_private_endpoint.hub.private_service_connection[0].private_ip_address
}

output "hosts_line" {
  description = "What a device without a resolver of its own needs in its hosts file."
  value       = "${azurerm_public_ip.front.ip_address} ${var.iothub_host_name}"
}
