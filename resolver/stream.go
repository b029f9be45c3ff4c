package resolver

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// overTLS makes the connections of a listener TLS ones (RFC 7858, RFC 8310).
func (r *Resolver) overTLS(ln net.Listener) net.Listener {
	return tls.NewListener(ln, r.tlsConfig("dot"))
}

// tlsConfig takes TLS 1.3, and of TLS 1.2 the suites with forward secrecy and authenticated encryption.
func (r *Resolver) tlsConfig(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos:     protocols,
		GetCertificate: r.cfg.Certificate,
	}
}

// acceptStreams answers on the connections of a listener.
func (r *Resolver) acceptStreams(ctx context.Context, g *errgroup.Group, via transport, ln net.Listener) error {
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		g.Go(func() error {
			defer func() { _ = conn.Close() }()
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer stop()
			s := stream{r: r, conn: conn, via: via}
			s.answer(ctx)
			return nil
		})
	}
}

// stream is one connection. Answers may overtake each other (RFC 7766 section 7).
type stream struct {
	r    *Resolver
	conn net.Conn
	via  transport

	depth  chan struct{} // a slot for each query that waits for upstreams; nil before the first
	late   chan []byte   // their replies; as much room as slots, so that nobody who brings one waits
	ended  chan struct{}
	writer sync.WaitGroup

	mu  sync.Mutex // between those who write
	out []byte
}

const (
	flushAt = 16 << 10 // bytes of answers that are gathered while more queries are at hand
	readAt  = 4 << 10
)

func (s *stream) answer(ctx context.Context) {
	client := clientOf(s.conn)
	if t, ok := s.conn.(*tls.Conn); ok {
		shake, cancel := context.WithTimeout(ctx, s.r.cfg.TCPIdle)
		err := t.HandshakeContext(shake)
		cancel()
		if err != nil {
			return
		}
	}
	defer s.close()
	in, d := bufio.NewReaderSize(s.conn, readAt), s.r.newDesk()
	var packet, out []byte
	for {
		// One deadline for the whole query: a client that sends a byte now and then holds nothing for long.
		_ = s.conn.SetReadDeadline(time.Now().Add(s.r.cfg.TCPIdle))
		var err error
		if packet, err = readFramed(in, packet); err != nil {
			return
		}
		d.open()
		reply, more := d.answer(out[:0], packet, client, s.via)
		if more {
			var x *exchange
			if x, reply = d.exchange(); x != nil {
				s.wait(x)
			}
		}
		d.close()
		if cap(reply) > cap(out) && cap(reply) <= flushAt {
			out = reply
		}
		s.write(reply, atHand(in))
	}
}

// atHand tells whether a whole message can be read without waiting.
func atHand(in *bufio.Reader) bool {
	if in.Buffered() < 2 {
		return false
	}
	size, err := in.Peek(2)
	return err == nil && in.Buffered() >= 2+int(binary.BigEndian.Uint16(size))
}

// wait starts an exchange whose reply goes out as soon as it is there.
func (s *stream) wait(x *exchange) {
	if s.depth == nil {
		n := s.r.cfg.TCPDepth
		s.depth, s.late, s.ended = make(chan struct{}, n), make(chan []byte, n), make(chan struct{})
		s.writer.Go(s.writeLate)
	}
	s.write(nil, false) // what is gathered does not wait
	s.depth <- struct{}{}
	late := s.late
	x.to = func(reply []byte) { late <- append([]byte(nil), reply...) }
	x.start()
}

// writeLate writes replies of exchanges until the connection ends. Those that come later stay in the channel.
func (s *stream) writeLate() {
	for {
		select {
		case reply := <-s.late:
			s.write(reply, false)
			<-s.depth
		case <-s.ended:
			return
		}
	}
}

func (s *stream) close() {
	_ = s.conn.Close()
	if s.depth != nil {
		close(s.ended)
		s.writer.Wait()
	}
}

// write sends a reply with its length in front (RFC 1035 section 4.2.2), in one write with those before it. more says that another will
// follow at once.
func (s *stream) write(reply []byte, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(reply) > 0 {
		s.out = append(binary.BigEndian.AppendUint16(s.out, uint16(len(reply))), reply...)
	}
	if len(s.out) == 0 || more && len(s.out) < flushAt {
		return
	}
	_ = s.conn.SetWriteDeadline(time.Now().Add(s.r.cfg.TCPIdle))
	if _, err := s.conn.Write(s.out); err != nil {
		_ = s.conn.Close()
	}
	if s.out = s.out[:0]; cap(s.out) > 2*flushAt {
		s.out = nil
	}
}

// readFramed reads one message into buf or a longer one.
func readFramed(in *bufio.Reader, buf []byte) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(in, size[:]); err != nil {
		return buf, err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n > cap(buf) {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	_, err := io.ReadFull(in, buf)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return buf, err
}
