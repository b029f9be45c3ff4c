package gateway_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/plan"
)

// After a HelloRetryRequest (RFC 8446 clause 4.1.4) a client says hello again, and may name somebody else. The way was chosen by the first
// hello and stays: what comes behind it goes, as it is, to the target that was allowed, and to no other.
func TestASecondHelloChangesNothing(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	other := serve(t, "other", false)
	p := front(plan.GatewayRoute{Names: []string{"a.example"}, Group: "a"}, plan.GatewayRoute{Names: []string{"b.example"}, Group: "b"})
	p.Groups = append(p.Groups, group("a", ln.Addr().String()), group("b", other.address()))
	w := start(t, p)
	first, second := helloFor(t, "a.example"), helloFor(t, "b.example")

	c, err := net.Dial("tcp", w.address())
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(patient)))
	for _, b := range [][]byte{header(plant), first, second} {
		_, err = c.Write(b)
		must(t, err)
	}
	at, err := ln.Accept()
	must(t, err)
	defer at.Close()
	must(t, at.SetDeadline(time.Now().Add(patient)))
	got := make([]byte, len(first)+len(second))
	_, err = io.ReadFull(at, got)
	must(t, err)
	if !bytes.Equal(got, append(first, second...)) {
		t.Error("other bytes than the client sent")
	}
	if b := w.g.Status().Gateways[0].Busiest; len(b) != 1 || b[0].Connections != 1 {
		t.Errorf("%+v", b)
	}
}
