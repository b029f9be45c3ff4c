package dialer

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"syscall"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Stdio joins in and out to the target of a grant, for programs that are told a command in place of an address (ssh_config: ProxyCommand).
// The end of in is passed on and lets out go on, and the other way about: out is closed, where it can be, when the target has said all.
// It returns when both have ended or the way has, with a fault in the words of whoever cut it; nil when ctx ends or nobody reads out any
// more. In is closed then, where it can be. A file in which something waits to be read cannot always be woken by that: the goroutine that
// reads it ends with the program.
func (d *Dialer) Stdio(ctx context.Context, in io.Reader, out io.Writer, grant string) error {
	const op = "dialer.Stdio"
	s, err := d.open(ctx, grant, netip.AddrPort{})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { s.Reset(tunnel.ResetPeer, "the person's program has ended") })
	defer stop()
	go func() {
		_, err := s.ReadFrom(in)
		if err != nil {
			s.Reset(tunnel.ResetPeer, "")
			return
		}
		_ = s.CloseWrite()
	}()
	_, err = s.WriteTo(out)
	if c, ok := out.(io.Closer); ok {
		_ = c.Close()
	}
	if err != nil {
		s.Reset(tunnel.ResetPeer, "")
	}
	<-s.Done() // which ends the goroutine, or lets it do no more
	if c, ok := in.(io.Closer); ok {
		_ = c.Close()
	}
	_ = s.Close()
	reset, ok := errors.AsType[*mux.ResetError](err)
	switch {
	case err == nil, ctx.Err() != nil, errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrClosedPipe), errors.Is(err, os.ErrClosed):
		return nil
	case !ok:
		return fault.Wrap(op, fault.Unavailable, err, "the connection was lost: "+fault.Message(err))
	}
	return d.cut(op, grant, reset)
}
