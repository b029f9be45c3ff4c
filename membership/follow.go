package membership

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
)

// errRenewed ends a stream so that the next one shows the new certificate.
var errRenewed = errors.New("the certificate was renewed")

// follow keeps a plan stream open until the context ends or the member is removed.
func (m *Member) follow(ctx context.Context) error {
	var wait backoff.Backoff
	for {
		began := m.clock.Now()
		err := m.stream(ctx)
		m.setConnected(false)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errRenewed):
			wait.Reset()
			continue
		case fault.KindOf(err) == fault.Denied:
			return m.removed(err)
		}
		m.trouble("control", "the control plane cannot be followed; going on with the plan that is here", err)
		m.caller.redial() // a connection that went quiet must not be used again
		if m.clock.Now().Sub(began) >= steadyAfter {
			wait.Reset()
		}
		if !wait.Wait(ctx, m.clock) {
			return ctx.Err()
		}
	}
}

func (m *Member) setConnected(yes bool) {
	m.mu.Lock()
	m.connected = yes
	m.mu.Unlock()
}

// removed stops everything: what a removed member may do is decided by nobody any more.
func (m *Member) removed(err error) error {
	m.mu.Lock()
	old := m.plan
	m.mu.Unlock()
	if old.Self.ID == "" {
		old.Self.ID = string(m.creds.ID())
	}
	m.adopt(emptied(old))
	return fault.New("membership.Run", fault.Denied, "the control plane refuses this member: "+fault.Message(err)).Because(err).
		Advise("if it should belong again, make another join token (isthmus token join --help), and join with it and --force")
}

// stream follows the plan over one connection. It always returns an error.
func (m *Member) stream(ctx context.Context) error {
	op := "membership.stream"
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	select { // a renewal before this connection is none of its business
	case <-m.renewed:
	default:
	}
	resp, err := m.caller.open(ctx, "/member/v1/plan") //nolint:bodyclose // closed below, before the reader is waited for
	if err != nil {
		return err
	}
	var plans plan.Reader
	lines := make(chan []byte)
	ended := make(chan error, 1)
	go func() { ended <- readLines(ctx, resp.Body, lines) }()
	defer func() {
		cancel()
		resp.Body.Close()
		for range lines { // closed by the reader
		}
	}()
	for {
		quiet, stop := m.clock.After(keepAliveLimit)
		select {
		case line, ok := <-lines:
			stop()
			if !ok {
				return <-ended
			}
			if len(line) == 0 {
				continue
			}
			p, whole, err := m.read(&plans, line)
			if err != nil {
				return err
			}
			m.setConnected(true)
			m.trouble("control", "", nil)
			if !whole {
				continue
			}
			m.adopt(p)
			m.ReportSoon()
		case <-quiet:
			return fault.New(op, fault.Timeout, "the control plane went quiet")
		case <-m.renewed:
			stop()
			return errRenewed
		case <-ctx.Done():
			stop()
			return ctx.Err()
		}
	}
}

// read understands one line and makes sure that a plan is ours; whole is false for a part of one.
func (m *Member) read(plans *plan.Reader, line []byte) (p plan.Plan, whole bool, err error) {
	p, whole, err = plans.Read(line)
	if err != nil {
		return p, false, fault.New("membership.read", fault.Invalid, "the control plane sent a plan that cannot be read: "+fault.Message(err)).Because(err).
			Advise("bring this program and the control plane to the same version")
	}
	if !whole {
		return p, false, nil
	}
	if identity.ID(p.Self.ID) != m.creds.ID() || p.Revision == "" {
		return p, false, fault.Newf("membership.read", fault.Invalid, "the control plane sent a plan for %q", p.Self.ID)
	}
	return p, true, nil
}

// readLines hands lines over, without their ends, until the body or the context ends; then it closes lines.
func readLines(ctx context.Context, body io.Reader, lines chan<- []byte) error {
	defer close(lines)
	s := bufio.NewScanner(body)
	s.Buffer(make([]byte, 0, 64<<10), maxPlan)
	for s.Scan() {
		select {
		case lines <- bytes.Clone(s.Bytes()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return fault.Newf("membership.stream", fault.TooLarge, "the control plane sent a plan of more than %d bytes", maxPlan)
	}
	return fault.New("membership.stream", fault.Unavailable, "the control plane ended the connection").Because(s.Err())
}
