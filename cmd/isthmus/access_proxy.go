package main

import (
	"context"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/access/dialer"
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
			return err
		}
		defer s.Close()
		done := s.wait()
		g, err := s.find(c.Context(), t)
		done()
		if err != nil {
			return err
		}
		return s.running(c.Context(), func(ctx context.Context, d *dialer.Dialer) error { return d.Stdio(ctx, w.in, standardOutput(w), g.ID) })
	}
	return c
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
