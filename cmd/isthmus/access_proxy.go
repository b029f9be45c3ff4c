package main

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/access/dialer"
	"github.com/isthmus-io/isthmus/fault"
)

func newAccessProxy(w *world) *cobra.Command {
	c := &cobra.Command{
		Use:   "proxy TARGET",
		Short: "Join standard input and output to a target, for programs that take a command in place of an address",
		Long: `Join standard input and output to a target that a grant lets you into. It is what ssh runs as its ProxyCommand, and writes nothing but the target's
bytes to standard output. TARGET is [TENANT/]NETWORK/NAME, or NAME.NETWORK.TENANT.isthmus as ssh has it.`,
		Example: `  isthmus access proxy press-4-ssh.plant-7.ot.isthmus
  isthmus access proxy ot/plant-7/plc < request.bin > answer.bin`,
		Args: cobra.ExactArgs(1),
	}
	a := addAccessWay(w, c)
	c.ValidArgsFunction = a.completeTargets("")
	c.RunE = func(c *cobra.Command, args []string) error {
		t, err := parseTarget(args[0])
		if err != nil {
			return err
		}
		s, err := a.open()
		if err != nil {
			return inOneLine(err)
		}
		defer s.Close()
		done := s.wait()
		g, err := s.findKept(c.Context(), t)
		done()
		if err != nil {
			return inOneLine(err)
		}
		in := &unread{Reader: w.in}
		return inOneLine(s.running(c.Context(), func(ctx context.Context, d *dialer.Dialer) error {
			err := d.Stdio(ctx, in, standardOutput(w), g.ID)
			if in.begun.Load() || fault.KindOf(err) != fault.Denied && fault.KindOf(err) != fault.Expired {
				return err
			}
			other, why := s.find(ctx, t) // another grant may have been given since the pass was
			switch {
			case fault.KindOf(why) == fault.Denied: // in the words of who decides
				return why
			case why != nil, other.ID == g.ID:
				return err
			}
			return d.Stdio(ctx, in, standardOutput(w), other.ID)
		}))
	}
	return c
}

// inOneLine puts what to do into the words of a fault: who starts this program shows its errors among its own.
func inOneLine(err error) error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err
	}
	message, next := words(err)
	if next == "" {
		return err
	}
	return fault.New(f.Op, f.Kind, message+" (next: "+next+")").Because(err)
}

// unread notes whether its reader was asked for anything: what has not begun may begin again.
type unread struct {
	io.Reader
	begun atomic.Bool
}

func (u *unread) Read(p []byte) (int, error) {
	u.begun.Store(true)
	return u.Reader.Read(p)
}

// Close closes what is read, where that is possible.
func (u *unread) Close() error {
	if c, ok := u.Reader.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// standardOutput can be closed, where that is a file: so the program behind it hears that a target has said all.
func standardOutput(w *world) io.Writer {
	if l, ok := w.out.(*lockedWriter); ok {
		return l.w
	}
	return w.out
}

// running does something with a dialer that runs, and ends it.
func (s *accessSession) running(ctx context.Context, do func(context.Context, *dialer.Dialer) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var ran sync.WaitGroup
	var failed error
	ran.Go(func() { failed = s.dialer.Run(ctx) })
	err := do(ctx, s.dialer)
	cancel()
	ran.Wait()
	if err == nil {
		err = failed
	}
	return err
}
