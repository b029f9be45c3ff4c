package storage

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/storage"
	"github.com/isthmus-io/isthmus/storage/storagetest"
	"github.com/isthmus-io/isthmus/workload"
	"github.com/isthmus-io/isthmus/workload/workloadtest"
)

// modules is where test/eventhubs has what npm installs.
const modules = "../eventhubs/node_modules"

// TestNode: what the Node SDK and the checkpoint store of @azure/event-hubs do, as sdk.js says.
func TestNode(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(filepath.Join(modules, "@azure/storage-blob")); err != nil {
		t.Fatal("the SDK is not installed: run make deps")
	}
	d := workloadtest.New(t, clock.System{})
	reader := workloadtest.Assign(resource.RoleBlobReader, "js-identity")
	reader.Workload, reader.Holders = string(workloadtest.Other), []string{string(workloadtest.Other)}
	w := storagetest.Start(t, storagetest.Options{
		Config: storage.Config{Workloads: d.Verifier},
		Spec:   storage.Spec{Assignments: []plan.Assignment{workloadtest.Assign(resource.RoleBlobContributor, ""), reader}},
	})
	many(t, w, "many", 5001)
	root, err := filepath.Abs(modules)
	must(t, err)
	c := exec.CommandContext(t.Context(), "node", "sdk.js")
	c.Env = append(os.Environ(), "NODE_PATH="+root, "NODE_EXTRA_CA_CERTS="+w.CA, "CONNECTION="+w.ConnectionString(), "URL="+w.URL(), "MANY=many",
		"TOKEN="+d.Token(workloadtest.Agent, workloadtest.Bridge, workload.AudienceStorage),
		"READER_TOKEN="+d.Token(workloadtest.Other, workloadtest.Other, workload.AudienceStorage))
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("%v", err)
	}
	t.Logf("%s", out)
}

// many makes blobs: d0/0, d1/1, …, and the last one as z.
func many(t *testing.T, w *storagetest.World, container string, n int) {
	t.Helper()
	_, err := w.Account.CreateContainer(t.Context(), container, nil)
	must(t, err)
	var all errgroup.Group
	all.SetLimit(64)
	for i := range n {
		name := fmt.Sprintf("d%d/%04d", i%10, i)
		if i == n-1 {
			name = fmt.Sprintf("z%d", i)
		}
		all.Go(func() error {
			_, err := w.Account.Put(context.Background(), storage.Ref{Container: container, Name: name}, storage.Properties{Metadata: map[string]string{"n": digits(name)}}, storage.Condition{}, 0, nil)
			return err
		})
	}
	must(t, all.Wait())
}

// digits is what a name ends with.
func digits(name string) string {
	i := len(name)
	for i > 0 && name[i-1] >= '0' && name[i-1] <= '9' {
		i--
	}
	return name[i:]
}
