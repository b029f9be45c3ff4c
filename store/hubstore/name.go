package hubstore

import "strings"

// Name says which identity of a hub is meant: a device, or one of its modules.
type Name struct{ Device, Module string } // Module is empty for the device itself

// String returns "device" or "device/module". Neither id can hold a slash, so no two names share a text.
func (n Name) String() string {
	if n.Module == "" {
		return n.Device
	}
	return n.Device + "/" + n.Module
}

// IsModule tells whether a module is meant.
func (n Name) IsModule() bool { return n.Module != "" }

// IsSystem tells whether the module belongs to the runtime of an edge device.
func (n Name) IsSystem() bool { return strings.HasPrefix(n.Module, "$") }
