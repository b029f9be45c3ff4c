package handover

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"syscall"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Taken is what another process gave. Ready or Close must be called.
type Taken struct {
	Sockets []Socket // the files are the caller's
	PID     int      // of the process that gave them

	conn *net.UnixConn
}

// Take asks the process that answers at path for its sockets. Nil, without a fault, is that there is none.
func Take(ctx context.Context, path string) (*Taken, error) {
	const op = "handover.Take"
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, nil
	case err != nil:
		return nil, fault.Wrap(op, fault.Unavailable, err, "the running process cannot be asked for its sockets at "+path)
	}
	t := &Taken{conn: c.(*net.UnixConn)} //nolint:forcetypeassert // what the network asked for is
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })
	defer stop()
	if err := t.take(); err != nil {
		t.Close()
		if fault.KindOf(err) == fault.Internal {
			err = fault.Wrap(op, fault.Unavailable, err, "the running process did not hand its sockets over")
		}
		return nil, err
	}
	return t, nil
}

func (t *Taken) take() error {
	_ = t.conn.SetDeadline(time.Now().Add(askTime))
	if _, err := sameUser(t.conn); err != nil {
		return err
	}
	if err := send(t.conn, message{Say: sayTake}); err != nil {
		return err
	}
	files := 0
	for {
		_ = t.conn.SetDeadline(time.Now().Add(askTime))
		m, err := receive(t.conn)
		if err != nil {
			return err
		}
		switch m.Say {
		case saySocket:
			if files += m.Files; m.Files <= 0 || files > mostSockets {
				return errors.New("a number of sockets that cannot be")
			}
			got, err := receiveFiles(t.conn, m.Name, m.Files)
			if err != nil {
				return err
			}
			t.Sockets = append(t.Sockets, Socket{Name: m.Name, Address: m.Address, Files: got})
		case sayAll:
			t.PID = m.PID
			return nil
		case sayNo:
			return fault.New("handover.Take", fault.Conflict, "the running process does not hand its sockets over: "+m.Words).
				Advise("stop it first, or try again when it is done")
		default:
			return errors.New("it said " + m.Say)
		}
	}
}

// Ready tells the other process that this one accepts, and waits until that one does not any more. A fault is that it can no longer be
// asked, so that it may still be there; then this one goes on all the same.
func (t *Taken) Ready(ctx context.Context) error {
	defer func() { _ = t.conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = t.conn.SetDeadline(time.Now()) })
	defer stop()
	_ = t.conn.SetDeadline(time.Now().Add(readyTime))
	err := send(t.conn, message{Say: sayReady})
	if err == nil {
		var m message
		if m, err = receive(t.conn); err == nil && m.Say != sayOver {
			err = errors.New("it said " + m.Say)
		}
	}
	return fault.Wrap("handover.Ready", fault.Unavailable, err, "the process before this one did not say that it has stopped accepting")
}

// Close gives up: the other process goes on. The sockets are closed here.
func (t *Taken) Close() {
	_ = t.conn.Close()
	CloseAll(t.Sockets)
}
