package end

import (
	"context"
	"net"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
)

// Whatever a library dials, it comes out at the service, on a port that the service has, or not at all.
func TestOnlyTheServiceIsReached(t *testing.T) {
	var dialled []uint16
	e := &End{BridgeEnd: plan.BridgeEnd{Open: true, Ports: []uint16{5671, 443}, HostName: "lake.servicebus.windows.net"}}
	e.Connect = func(_ context.Context, port uint16) (net.Conn, error) {
		dialled = append(dialled, port)
		c, _ := net.Pipe()
		return c, nil
	}
	for address, kind := range map[string]fault.Kind{"elsewhere.example:443": 0, "10.0.0.1:5671": 0, "lake:22": fault.Denied, "nonsense": fault.Invalid} {
		c, err := e.Dial(t.Context(), "tcp", address)
		if (err == nil) != (kind == 0) || err != nil && fault.KindOf(err) != kind {
			t.Errorf("%s: %v", address, err)
		}
		if c != nil {
			c.Close()
		}
	}
	if len(dialled) != 2 {
		t.Errorf("dialled %v", dialled)
	}
	e.Open = false
	if _, err := e.Dial(t.Context(), "tcp", "lake:443"); fault.KindOf(err) != fault.Unavailable || len(dialled) != 2 {
		t.Errorf("an endpoint that is not approved: %v", err)
	}
}

func TestURLs(t *testing.T) {
	for _, c := range []struct {
		host  string
		ports []uint16
		plain bool
		want  string
	}{
		{"a.example", []uint16{443}, false, "https://a.example"},
		{"a.example", []uint16{8443}, false, "https://a.example:8443"},
		{"a.example", []uint16{80}, true, "http://a.example"},
		{"", []uint16{8080}, true, "http://service.invalid:8080"},
	} {
		e := &End{BridgeEnd: plan.BridgeEnd{HostName: c.host, Ports: c.ports}}
		if got := e.URL(c.plain); got != c.want {
			t.Errorf("%+v is %s", c, got)
		}
	}
}

// A provider must not come to tokens that open other services by what its own service is called.
func TestNoTokenIsForManyServices(t *testing.T) {
	for _, host := range []string{"eventhubs.azure.net", "storage.azure.com", "IoTHubs.azure.net", "containerregistry.azure.net"} {
		if a, err := AudienceOf(host); fault.KindOf(err) != fault.Denied || a != "" {
			t.Errorf("%s: %q, %v", host, a, err)
		}
	}
	if a, err := AudienceOf("lake.servicebus.windows.net"); err != nil || a != "https://lake.servicebus.windows.net/" {
		t.Error(a, err)
	}
}
