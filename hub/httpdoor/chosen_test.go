package httpdoor

import "testing"

func TestPathsOfProvisioning(t *testing.T) {
	for path, want := range map[string]bool{
		"/enrollments/": true, "/enrollmentGroups/a": true, "/registrations/a": true, "/isthmus/v1/linkedHubs/x": true, "/isthmus/v1/provisioning": true,
		"/isthmus/v1/policies/x": false, "/twins/d/modules/": false, "/devices/enrollments": false, "/": false, "": false, "/isthmus": false,
	} {
		if got := ofProvisioning(path); got != want {
			t.Errorf("%q: %t", path, got)
		}
	}
}
