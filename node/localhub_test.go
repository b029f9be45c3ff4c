package node

import (
	"context"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store/database/databasetest"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

var databases databasetest.Server

func TestMain(m *testing.M) { databasetest.Main(m, &databases) }

// TestALocalHubIsThereAgain: devices, the authority and the id scope are those of the time before, on both databases.
func TestALocalHubIsThereAgain(t *testing.T) {
	databases.Each(t, func(t *testing.T, dsn string) {
		dir := t.TempDir()
		scope := ""
		for time := range 2 {
			ctx, cancel := context.WithCancel(t.Context())
			cfg := LocalHubConfig{
				HubConfig: HubConfig{DataDir: dir, Database: dsn, MQTT: []string{"127.0.0.1:0"}, HTTPS: []string{"127.0.0.1:0"}, AMQP: []string{"127.0.0.1:0"}},
				Hosts:     []string{"localhost"}, ProvisioningHosts: []string{"dps.localhost"}, NamespaceHosts: []string{"events.localhost"},
				EventHubs: []resource.EventHub{{Name: "telemetry", Partitions: 2}},
			}
			cfg.Ready = func(s LocalServices) {
				defer cancel()
				h, p := s.Hub, s.Provisioning
				if e, err := s.Namespace.Entity(ctx, "telemetry"); err != nil || e.Partitions() != 2 {
					t.Errorf("time %d: the event hub: %v", time, err)
				}
				_, err := h.CreateDevice(ctx, hubstore.Device{ID: "d"})
				if time == 0 && err != nil || time == 1 && fault.KindOf(err) != fault.Conflict {
					t.Errorf("time %d: %v", time, err)
				}
				if time == 1 && p.Scope() != scope {
					t.Errorf("the id scope was %s and is %s", scope, p.Scope())
				}
				scope = p.Scope()
			}
			if err := LocalHub(ctx, cfg, hubtest.Silent(), clock.System{}, nil); err != nil {
				t.Fatal(err)
			}
			cancel()
		}
	})
}
