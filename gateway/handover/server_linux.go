package handover

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/localsocket"
)

// Times of a hand-over.
const (
	askTime   = 5 * time.Second  // for the question, and for each answer to be taken
	readyTime = 60 * time.Second // for the new process to accept from what it got
)

// Server is the side of the process that has the sockets.
type Server struct {
	Path string
	Log  *slog.Logger

	// Give returns the sockets, which stay as they are until Took or Kept is called: duplicates, which the server closes.
	Give func() ([]Socket, error)
	// Took is called when the new process accepts. When it returns, this process must not accept any more.
	Took func()
	// Kept is called instead when the new process gave up.
	Kept func()
}

// Run answers until a process took over, which is true, or ctx ends. It returns when it has stopped answering; the path is free then.
func (s *Server) Run(ctx context.Context) (took bool, err error) {
	ln, err := localsocket.Listen(s.Path)
	if err != nil {
		return false, err
	}
	defer func() { _ = ln.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	var asking sync.WaitGroup
	defer asking.Wait()
	one := make(chan struct{}, 1) // holds whoever takes over
	var done atomic.Bool
	for {
		c, err := ln.AcceptUnix()
		if err != nil {
			if done.Load() {
				return true, nil
			}
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return false, nil
			}
			return false, fault.Wrap("handover.Run", fault.Unavailable, err, "the socket for a new process cannot be served")
		}
		asking.Go(func() {
			defer func() { _ = c.Close() }()
			select {
			case one <- struct{}{}:
			default:
				_ = c.SetDeadline(time.Now().Add(askTime))
				_, _ = receive(c) // whoever is still asking would not hear the answer
				_ = send(c, message{Say: sayNo, Words: "another process is taking over"})
				return
			}
			if !s.give(ctx, c) {
				<-one
				return
			}
			done.Store(true)
			_ = ln.Close() // the path is the new process's now, which learns it by the next line
			s.release(c)
		})
	}
}

// give is one hand-over. It tells whether it came to its end.
func (s *Server) give(ctx context.Context, c *net.UnixConn) bool {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })
	defer stop()
	_ = c.SetDeadline(time.Now().Add(askTime))
	pid, err := sameUser(c)
	if err != nil {
		s.Log.Warn("sockets are not handed over", "to", pid, "error", err)
		_ = send(c, message{Say: sayNo, Words: "it belongs to another user"})
		return false
	}
	if m, err := receive(c); err != nil || m.Say != sayTake {
		if err == nil {
			_ = send(c, message{Say: sayNo, Words: "this version does not know " + m.Say})
		}
		return false
	}
	sockets, err := s.Give()
	if err != nil {
		s.Log.Warn("sockets are not handed over", "to", pid, "error", err)
		_ = send(c, message{Say: sayNo, Words: fault.Message(err)})
		return false
	}
	s.Log.Info("handing sockets over", "to", pid, "addresses", len(sockets))
	err = offer(c, sockets)
	CloseAll(sockets)
	if err == nil {
		err = awaitReady(c)
	}
	if err != nil {
		s.Log.Warn("the new process did not take over; this one goes on", "was", pid, "error", err)
		s.Kept()
		return false
	}
	s.Took()
	s.Log.Info("another process took over", "pid", pid)
	return true
}

// release lets the new process take everything else over too.
func (s *Server) release(c *net.UnixConn) {
	_ = c.SetDeadline(time.Now().Add(askTime))
	if err := send(c, message{Say: sayOver}); err != nil {
		s.Log.Warn("the new process went away at the end of the hand-over", "error", err)
	}
}

func offer(c *net.UnixConn, sockets []Socket) error {
	for i := range sockets {
		_ = c.SetDeadline(time.Now().Add(askTime))
		k := &sockets[i]
		if err := send(c, message{Say: saySocket, Name: k.Name, Address: k.Address, Files: len(k.Files)}); err != nil {
			return err
		}
		if err := sendFiles(c, k.Files); err != nil {
			return err
		}
	}
	return send(c, message{Say: sayAll, PID: os.Getpid()})
}

func awaitReady(c *net.UnixConn) error {
	_ = c.SetDeadline(time.Now().Add(readyTime))
	m, err := receive(c)
	if err == nil && m.Say != sayReady {
		err = errors.New("it said " + m.Say)
	}
	return err
}
