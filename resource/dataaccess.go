package resource

import (
	"regexp"
	"slices"

	"github.com/isthmus-io/isthmus/fault"
)

// Bounds of what a service says about its data.
const (
	MaxContainers       = 1000
	MaxTrustedWorkloads = 100
)

// containerName is Azure's rule: 3 to 63 of a-z, 0-9 and -, no two - together (Blob service: naming containers).
var containerName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// ValidateContainer checks a container's name.
func ValidateContainer(name string) error {
	if name == "$root" || name == "$logs" || name == "$web" || len(name) >= 3 && len(name) <= 63 && containerName.MatchString(name) {
		return nil
	}
	return fault.Newf("resource.ValidateContainer", fault.Invalid, "%.80q cannot be a container's name", name).
		Advise("use 3 to 63 of a-z, 0-9 and -, with a letter or digit at both ends and no two - together")
}

// validateDataAccess refuses what only some served services have.
func (s *Service) validateDataAccess() error {
	op := "resource.Service.Validate"
	sp := &s.Spec
	if sp.ServedBy == "" && (len(sp.Containers) > 0 || sp.KeyAccess != "" || len(sp.TrustedWorkloads) > 0) {
		return fault.New(op, fault.Invalid, "spec.containers, spec.keyAccess and spec.trustedWorkloads are for a service that Isthmus serves, and spec.servedBy names nobody").
			Advise("name the hub process in spec.servedBy, or leave them out")
	}
	switch sp.KeyAccess {
	case "", KeysEnabled, KeysDisabled:
	default:
		return fault.Newf(op, fault.Invalid, "spec.keyAccess is %.20q", sp.KeyAccess).Advise("write Enabled or Disabled")
	}
	if len(sp.Containers) > 0 && sp.Type != TypeBlob {
		return fault.Newf(op, fault.Invalid, "spec.containers belongs to a service of type %s, this one is of type %s", TypeBlob, sp.Type)
	}
	if len(sp.Containers) > MaxContainers || len(sp.TrustedWorkloads) > MaxTrustedWorkloads {
		return fault.Newf(op, fault.Invalid, "%d containers and %d trusted workloads are too many", len(sp.Containers), len(sp.TrustedWorkloads)).
			Advise("declare at most %d containers and %d workloads", MaxContainers, MaxTrustedWorkloads)
	}
	for i, c := range sp.Containers {
		if err := ValidateContainer(c); err != nil {
			return within(op, "spec.containers", err)
		}
		if slices.Contains(sp.Containers[:i], c) {
			return fault.Newf(op, fault.Invalid, "spec.containers has %s twice", c)
		}
	}
	for _, w := range sp.TrustedWorkloads {
		if err := w.validate(op, "spec.trustedWorkloads"); err != nil {
			return err
		}
	}
	return nil
}
