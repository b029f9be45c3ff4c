package sshproxy

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/access/sshproxy/filewatch"
)

// destination is what a direct-tcpip channel says (RFC 4254, section 7.2).
type destination struct {
	Host       string
	Port       uint32
	OriginHost string
	OriginPort uint32
}

// mayReach tells in words why a connection may not be forwarded; empty: it may.
func (v *visit) mayReach(payload []byte) string {
	var d destination
	if ssh.Unmarshal(payload, &d) != nil {
		return "the destination cannot be read"
	}
	where := filewatch.Printable(net.JoinHostPort(d.Host, strconv.FormatUint(uint64(d.Port), 10)))
	switch _, port, _ := net.SplitHostPort(v.s.Target.Address); {
	case !v.s.Target.Record.Forwarding || !v.mayForward:
		return "nothing is forwarded at this target: " + where
	case !loopback(d.Host) || d.Port == 0 || d.Port > 65535:
		return "only ports of the machine itself are forwarded: " + where
	case strconv.FormatUint(uint64(d.Port), 10) == port:
		// Otherwise the machine's sshd could be reached beside the recording.
		return "the target itself is not forwarded: " + where
	}
	return ""
}

// forward serves a direct-tcpip channel. Only bytes are counted.
func (v *visit) forward(nc ssh.NewChannel) {
	machinesEnd := sync.OnceFunc(v.machinesParts.Done)
	defer machinesEnd()
	var d destination
	if ssh.Unmarshal(nc.ExtraData(), &d) != nil {
		return // mayReach has read it before
	}
	where := net.JoinHostPort(d.Host, strconv.FormatUint(uint64(d.Port), 10))
	m, machineReqs, err := v.machine.OpenChannel("direct-tcpip", nc.ExtraData())
	if err != nil {
		_ = nc.Reject(ssh.ConnectionFailed, "the machine did not connect to "+where) // the person's end is seen elsewhere
		return
	}
	p, personReqs, err := nc.Accept()
	if err != nil {
		_ = m.Close() // the machine may have gone
		ssh.DiscardRequests(machineReqs)
		return
	}
	var sent, received int64
	var person, machine, wg sync.WaitGroup
	person.Go(func() { ssh.DiscardRequests(personReqs) })
	person.Go(func() {
		sent, _ = io.Copy(m, p)
		_ = m.CloseWrite() // an end that went away is seen by the other direction
	})
	machine.Go(func() { ssh.DiscardRequests(machineReqs) })
	machine.Go(func() {
		received, _ = io.Copy(p, m)
		_ = p.CloseWrite() // as above
	})
	// An end's close is passed on when all that came before it was.
	wg.Go(func() {
		person.Wait()
		_ = m.Close() // as above
	})
	wg.Go(func() {
		machine.Wait()
		_ = p.Close() // as above
		machinesEnd()
	})
	wg.Wait()
	_ = v.mark(fmt.Sprintf("forwarded to %s: %d bytes sent, %d bytes received", where, sent, received)) // it ended the session if it failed
}
