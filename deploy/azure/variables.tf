variable "subscription_id" {
  description = "The subscription everything is made in."
  type        = string
}

variable "location" {
  description = "The region, such as westeurope. It must have availability zones for zones to be more than one."
  type        = string
}

variable "name" {
  description = "A short name that everything is called after."
  type        = string
  default     = "isthmus-gateway"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "Use 2 to 31 of a-z, 0-9 and '-', beginning with a letter."
  }
}

variable "iothub_id" {
  description = "Resource ID of the IoT hub that stands behind the gateway. Its public side can be closed once devices come this way."
  type        = string
}

variable "iothub_host_name" {
  description = "The hub's own name, such as contoso.azure-devices.net: what devices ask for, and what is routed by."
  type        = string
}

variable "manifest" {
  description = "The Gateway and its Allowlists as YAML, for machines that read a file. Leave empty to join a control plane with join_token."
  type        = string
  default     = ""
}

variable "join_token" {
  description = "A join token for gateways with enough uses for the whole scale set (isthmus token join --for gateway --uses N). Leave empty to use manifest."
  type        = string
  default     = ""
  sensitive   = true
}

variable "ports" {
  description = "The ports devices dial."
  type        = list(number)
  default     = [8883, 5671, 443]
}

variable "allowed_sources" {
  description = "Ranges the network security group lets in. The gateway's own allowlists decide per customer; keep this one wide."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

variable "operator_sources" {
  description = "Ranges that may reach SSH on the machines. None by default: use the serial console or a bastion."
  type        = list(string)
  default     = []
}

variable "address_space" {
  description = "The virtual network's range."
  type        = string
  default     = "10.60.0.0/16"
}

variable "zones" {
  description = "Availability zones of the address, the balancer and the machines."
  type        = list(string)
  default     = ["1", "2", "3"]
}

variable "machine_size" {
  description = "Size of the machines. Two processors carry some ten thousand devices."
  type        = string
  default     = "Standard_F2s_v2"
}

variable "instances" {
  description = "Machines: to begin with, at least, at most."
  type = object({
    initial = number
    minimum = number
    maximum = number
  })
  default = {
    initial = 2
    minimum = 2
    maximum = 10
  }

  validation {
    condition     = var.instances.minimum >= 2 && var.instances.minimum <= var.instances.initial && var.instances.initial <= var.instances.maximum
    error_message = "Use minimum <= initial <= maximum, and at least 2 machines, or an upgrade is an outage."
  }
}

variable "admin_user" {
  description = "The user on the machines."
  type        = string
  default     = "isthmus"
}

variable "admin_ssh_public_key" {
  description = "That user's SSH public key."
  type        = string
}

variable "package_url" {
  description = "Where a machine downloads the isthmus binary for linux/amd64 from."
  type        = string
}

variable "package_sha256" {
  description = "The SHA-256 of that binary in hex. A machine whose download differs does not start it."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.package_sha256))
    error_message = "Give 64 hexadecimal digits in lower case."
  }
}

variable "tags" {
  description = "Tags on everything."
  type        = map(string)
  default     = {}
}
