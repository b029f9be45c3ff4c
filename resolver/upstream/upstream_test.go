package upstream_test

import (
	"testing"

	"github.com/isthmus-io/isthmus/resolver/upstream"
)

func TestAskOverUDP(t *testing.T) {
	f := newFake(t, nil, (*asked).ok)
	w := start(t, upstream.Config{})
	g := w.Group([]upstream.Server{f.server()})
	a := w.must(g, "www.Elsewhere.example", "www.elsewhere.example. A 192.0.2.1")
	if a.Server == nil || a.Server.Address != f.addr || a.Truncated || a.Joined {
		t.Errorf("answer %+v", a)
	}
}
