package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/testworld"
)

// Visit is what became of a person who wanted into a machine of the plant.
type Visit struct {
	SelfApproved bool    `json:"selfApproved"` // she approved her own request
	LetIn        bool    `json:"letIn"`        // another approved it, and bytes came there and back
	CutMillis    float64 `json:"cutMillis"`    // how long she stayed in after it was taken back
	InAgain      bool    `json:"inAgain"`      // she came in once more after that
}

// OK tells whether people come in when somebody else agrees, and only then.
func (v Visit) OK() bool {
	return v.LetIn && !v.SelfApproved && !v.InAgain && v.CutMillis < 1000
}

const visited = `
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: press-4}
spec: {agent: plant-7-agent, address: "%s", description: the press's own computer}
`

// visit lets a person in, and out again.
func visit(ctx context.Context, s *testworld.Scenario, marker string) (v Visit, err error) {
	op := "demo.Check"
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", plantAddress(s, 4001))
	if err != nil {
		return v, err
	}
	defer l.Close()
	go echo(l)
	if err := s.Apply(ctx, fmt.Sprintf(visited, l.Addr())); err != nil {
		return v, err
	}
	alice, err := s.Person(ctx, "ot", "alice", resource.RoleOperator, resource.RoleApprover)
	if err != nil {
		return v, err
	}
	bob, err := s.Person(ctx, "ot", "bob", resource.RoleApprover)
	if err != nil {
		return v, err
	}
	defer alice.Close()
	defer bob.Close()
	g, err := alice.RequestAccess(ctx, client.GrantRequest{Target: "ot/plant-7/press-4", Reason: "the press squeaks"})
	if err != nil {
		return v, err
	}
	_, err = alice.DecideGrant(ctx, g.ID, "approve", "", 0)
	v.SelfApproved = err == nil
	if _, err := bob.DecideGrant(ctx, g.ID, "approve", "agreed by phone", 0); err != nil {
		return v, err
	}
	way, program, err := alice.Dialer(ctx)
	if err != nil {
		return v, err
	}
	defer func() { _ = program.Stop() }() // it ends with the world
	c, err := way.Dial(ctx, g.ID)
	if err != nil {
		return v, fault.Wrap(op, fault.Unavailable, err, "nobody comes in: "+fault.Message(err))
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	text, back := []byte(marker), make([]byte, len(marker))
	if _, err := c.Write(text); err != nil {
		return v, err
	}
	_, err = io.ReadFull(c, back)
	v.LetIn = err == nil && bytes.Equal(text, back)
	if _, err := bob.DecideGrant(ctx, g.ID, "revoke", "enough", 0); err != nil {
		return v, err
	}
	begin := time.Now()
	_, _ = c.Read(back) // any end is one
	v.CutMillis = float64(time.Since(begin).Microseconds()) / 1000
	again, err := way.Dial(ctx, g.ID)
	if v.InAgain = err == nil; v.InAgain {
		again.Close()
	}
	return v, nil
}

// plantAddress is a port at the plant's own place.
func plantAddress(s *testworld.Scenario, port int) string {
	return net.JoinHostPort(s.PlantDNS.Addr().String(), fmt.Sprint(port))
}

func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		_, _ = io.Copy(c, c)
		c.Close()
	}
}
