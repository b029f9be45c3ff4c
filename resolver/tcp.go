package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/backoff"
)

// acceptTCP takes connections up to Config.MaxTCP; more are closed at once, which tells a client to try elsewhere.
func (r *Resolver) acceptTCP(ctx context.Context, g *errgroup.Group, ln *net.TCPListener) error {
	slots := make(chan struct{}, r.cfg.MaxTCP)
	pause := backoff.Backoff{Base: 10 * time.Millisecond, Max: time.Second}
	for {
		conn, err := ln.AcceptTCP()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			pause.Wait(ctx, r.clk) // out of descriptors: give others time to close some
			continue
		}
		pause.Reset()
		select {
		case slots <- struct{}{}:
			g.Go(func() error {
				defer func() { <-slots }()
				r.answerTCP(ctx, conn)
				return nil
			})
		default:
			r.count(dropped)
			_ = conn.Close()
		}
	}
}

// answerTCP serves one connection. Answers may overtake each other (RFC 7766 section 7).
func (r *Resolver) answerTCP(ctx context.Context, conn *net.TCPConn) {
	ctx, cancel := context.WithCancel(ctx)
	var inWork sync.WaitGroup
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		inWork.Wait()
		stop()
		cancel()
		_ = conn.Close()
	}()
	client := conn.RemoteAddr().(*net.TCPAddr).AddrPort() //nolint:forcetypeassert // a TCP connection's
	depth := make(chan struct{}, r.cfg.TCPDepth)
	var writing sync.Mutex
	write := func(reply []byte) {
		if len(reply) == 0 {
			return
		}
		writing.Lock()
		defer writing.Unlock()
		_ = conn.SetWriteDeadline(time.Now().Add(r.cfg.TCPIdle))
		if _, err := conn.Write(frame(reply)); err != nil {
			_ = conn.Close()
		}
	}
	for {
		// One deadline for the whole query: a client that sends a byte now and then holds nothing for long.
		_ = conn.SetReadDeadline(time.Now().Add(r.cfg.TCPIdle))
		packet, err := readFramed(conn)
		if err != nil {
			return
		}
		reply, later := r.take(packet, client, true)
		if later == nil {
			write(reply)
			continue
		}
		if !r.reserve() {
			write(later.busy())
			continue
		}
		depth <- struct{}{}
		inWork.Go(func() {
			defer func() { r.release(); <-depth }()
			write(later.finish(ctx))
		})
	}
}

func readFramed(conn io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	packet := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(conn, packet)
	return packet, err
}
