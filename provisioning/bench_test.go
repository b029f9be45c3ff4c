package provisioning_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/isthmus-io/isthmus/provisioning"
	pt "github.com/isthmus-io/isthmus/provisioning/provisioningtest"
)

// A registration from the first request to the answer that it is assigned; every write is on the disk.
func BenchmarkRegister(b *testing.B) {
	w := pt.Start(b, pt.Options{Change: func(c *provisioning.Config) { c.Queue = 10_000 }})
	w.PutGroup(line)
	var n atomic.Int64
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id := fmt.Sprint("d", n.Add(1))
			key, _ := provisioning.DeriveKey(groupKey, id)
			w.Register(keyed(w, id, key), provisioning.Registration{})
		}
	})
}

// What a stranger's token costs a service with a hundred groups.
func BenchmarkRefuse(b *testing.B) {
	w := pt.Start(b, pt.Options{})
	for i := range 100 {
		w.PutGroup(strings.Replace(line, `"line"`, fmt.Sprintf(`"g%d"`, i), 1))
	}
	p := keyed(w, "d", groupKey)
	for b.Loop() {
		if w.Service.Prove(b.Context(), p) == nil {
			b.Fatal("proved")
		}
	}
}
