//go:build !linux

package handover

import (
	"context"
	"log/slog"
)

// Server is the side of the process that has the sockets. Here nobody is answered.
type Server struct {
	Path string
	Log  *slog.Logger
	Give func() ([]Socket, error)
	Took func()
	Kept func()
}

// Run waits for ctx to end.
func (s *Server) Run(ctx context.Context) (took bool, err error) {
	<-ctx.Done()
	return false, nil
}

// Taken is what another process gave.
type Taken struct {
	Sockets []Socket
	PID     int
}

// Take finds no process.
func Take(context.Context, string) (*Taken, error) { return nil, nil }

// Ready does nothing.
func (t *Taken) Ready(context.Context) error { return nil }

// Close closes the sockets.
func (t *Taken) Close() { CloseAll(t.Sockets) }

// Inherited finds nothing.
func Inherited(func(string) string, func(string) error) ([]Socket, error) { return nil, nil }

// Notify tells nobody.
func Notify(func(string) string, ...string) error { return nil }
