package hub

import (
	"crypto/rand"
	"encoding/base64"

	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Right is what the holder of a policy's key may do (IoT Hub: access permissions).
type Right uint32

const (
	RegistryRead   Right = 1 << iota // read devices, their keys included
	RegistryWrite                    // create, change and delete devices
	ServiceConnect                   // read events, count connected devices
	DeviceConnect                    // be any device

	EveryRight = RegistryRead | RegistryWrite | ServiceConnect | DeviceConnect // which only the owner's policy has
)

func (r Right) String() string {
	switch r {
	case RegistryRead:
		return "RegistryRead"
	case RegistryWrite:
		return "RegistryWrite"
	case ServiceConnect:
		return "ServiceConnect"
	case DeviceConnect:
		return "DeviceConnect"
	}
	if r == EveryRight {
		return "every right"
	}
	return "several rights"
}

// Names returns the rights by their names.
func (r Right) Names() []string {
	var out []string
	for _, one := range []Right{RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect} {
		if r&one != 0 {
			out = append(out, one.String())
		}
	}
	return out
}

// The policies every hub is born with.
const (
	PolicyOwner             = "iothubowner"
	PolicyService           = "service"
	PolicyDevice            = "device"
	PolicyRegistryRead      = "registryRead"
	PolicyRegistryReadWrite = "registryReadWrite"
)

func policyNames() []string {
	return []string{PolicyOwner, PolicyService, PolicyDevice, PolicyRegistryRead, PolicyRegistryReadWrite}
}

func builtInPolicies() []hubstore.Policy {
	rights := []Right{EveryRight, ServiceConnect, DeviceConnect, RegistryRead, RegistryRead | RegistryWrite}
	out := make([]hubstore.Policy, len(rights))
	for i, name := range policyNames() {
		out[i] = hubstore.Policy{Name: name, Rights: uint32(rights[i]), PrimaryKey: newKey(), SecondaryKey: newKey()}
	}
	return out
}

// newKey returns 32 random bytes as base64.
func newKey() string { return randomText(32) }

func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.StdEncoding.EncodeToString(b)
}
