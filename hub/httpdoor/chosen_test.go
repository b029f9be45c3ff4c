package httpdoor

import (
	"testing"

	"github.com/isthmus-io/isthmus/resource"
)

func TestSortsOfPaths(t *testing.T) {
	for path, want := range map[string]resource.ServiceType{
		"/enrollments/": resource.TypeDPS, "/enrollmentGroups/a": resource.TypeDPS, "/registrations/a": resource.TypeDPS, "/isthmus/v1/linkedHubs/x": resource.TypeDPS,
		"/isthmus/v1/provisioning": resource.TypeDPS, "/isthmus/v1/eventHubs/x/policies": resource.TypeEventHubs, "/isthmus/v1/namespace": resource.TypeEventHubs,
		"/isthmus/v1/policies/x": resource.TypeIoTHub, "/twins/d/modules/": resource.TypeIoTHub, "/devices/enrollments": resource.TypeIoTHub,
		"/eventhubs": resource.TypeIoTHub, "/": resource.TypeIoTHub, "": resource.TypeIoTHub, "/isthmus": resource.TypeIoTHub,
	} {
		if got := sortOf(path); got != want {
			t.Errorf("%q: %s", path, got)
		}
	}
}
