//go:build !linux

package agent

import (
	"log/slog"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

func newAddresses(iface string, _ identity.ID, _ *slog.Logger) (addresses, error) {
	if iface != "" {
		return nil, fault.New("agent.New", fault.Invalid, "addresses can be added to an interface on Linux only").
			Advise("add the addresses of the private endpoints by hand and leave the interface out of the agent's settings")
	}
	return noAddresses{}, nil
}
