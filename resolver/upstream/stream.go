package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"math"
	"net"
	"slices"
	"sync"
	"time"
)

// stream is a connection to a server over TCP or TLS. Questions follow each other without waiting, answers come in any order
// (RFC 7766 section 6.2.1.1). It has three goroutines: one connects and reads, one writes, one closes.
type stream struct {
	server *server
	kick   chan struct{} // there is something to write
	cancel context.CancelFunc

	pending map[uint16]*flight // guarded by Pool.mu, as all below
	out     []*packet
	used    time.Time
	worked  bool // an answer came
	retired bool // it takes no more questions
}

func (st *stream) forget(id uint16) {
	delete(st.pending, id)
	if st.retired && len(st.pending) == 0 {
		st.cancel()
	}
}

// overStream puts a try onto the server's connection, which is made when there is none.
func (p *Pool) overStream(f *flight, now time.Time) {
	t := &f.try
	s := t.server
	st := s.strm
	if st == nil {
		ctx, cancel := context.WithCancel(p.ctx)
		st = &stream{server: s, kick: make(chan struct{}, 1), cancel: cancel, pending: map[uint16]*flight{}}
		s.strm = st
		p.streams[st] = struct{}{}
		p.sweepSoon(now)
		p.owned.Go(func() {
			defer cancel()
			p.hungUp(st, p.speak(ctx, st))
		})
	}
	t.id = p.dice.uint16()
	for st.pending[t.id] != nil {
		t.id = p.dice.uint16()
	}
	st.pending[t.id] = f
	st.used = now
	t.strm, t.on = st, true
	t.mixed = t.overTCP == forCase
	t.cookied = s.Transport != TLS && t.level != noEDNS
	sh := shape{level: t.level, mixed: t.mixed, padded: s.Transport == TLS}
	pkt := p.packets.Get().(*packet) //nolint:forcetypeassert // its own
	if t.cookied {
		sh.cookie = s.cookies(pkt.scratch[:0])
	}
	pkt.msg = p.put(f, append(pkt.buf[:0], 0, 0), t.id, sh)
	binary.BigEndian.PutUint16(pkt.msg, uint16(len(pkt.msg)-2))
	st.out = append(st.out, pkt)
	if len(st.pending) == math.MaxUint16/2 { // identifiers must stay hard to guess, and to be found
		p.retire(st)
	}
	select {
	case st.kick <- struct{}{}:
	default:
	}
}

// retire takes a connection out of use; it ends after its last answer.
func (p *Pool) retire(st *stream) {
	if st.server.strm == st {
		st.server.strm = nil
	}
	st.retired = true
	if len(st.pending) == 0 {
		st.cancel()
	}
}

// speak connects, then writes and reads until the connection or ctx ends.
func (p *Pool) speak(ctx context.Context, st *stream) error {
	conn, err := p.connect(ctx, st.server.Server)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var others sync.WaitGroup
	others.Go(func() {
		<-ctx.Done()
		_ = conn.Close()
	})
	others.Go(func() {
		defer cancel()
		p.write(ctx, st, conn)
	})
	err = p.read(st, conn)
	cancel()
	others.Wait()
	return err
}

func (p *Pool) connect(ctx context.Context, s Server) (net.Conn, error) {
	conn, err := p.dialFrom(ctx, s.Address)
	if err != nil || s.Transport != TLS {
		return conn, err
	}
	secured := tls.Client(conn, p.tlsConfig(s, "dot"))
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// tlsConfig verifies the server's name, or its address when it has none (RFC 7858 section 4, RFC 8310 section 8.1).
func (p *Pool) tlsConfig(s Server, protocol string) *tls.Config {
	return &tls.Config{
		RootCAs: p.cfg.Roots, ServerName: s.host(), NextProtos: []string{protocol}, Time: p.clk.Now,
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
		MinVersion:         tls.VersionTLS12,
		// For TLS 1.2 forward secrecy and authenticated encryption; those of 1.3 are all good.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
}

// host is the name a certificate must carry.
func (s Server) host() string {
	if s.Name != "" {
		return s.Name
	}
	return s.Address.Addr().WithZone("").String()
}

// write sends what is queued, all at once.
func (p *Pool) write(ctx context.Context, st *stream, conn net.Conn) {
	var queued []*packet
	var buf []byte
	for {
		select {
		case <-ctx.Done():
			return
		case <-st.kick:
		}
		p.mu.Lock()
		queued, st.out = st.out, queued[:0]
		p.mu.Unlock()
		buf = buf[:0]
		for i, k := range queued {
			buf = append(buf, k.msg...)
			p.packets.Put(k)
			queued[i] = nil
		}
		_ = conn.SetWriteDeadline(time.Now().Add(p.cfg.Timeout))
		if _, err := conn.Write(buf); err != nil {
			return
		}
	}
}

func (p *Pool) read(st *stream, conn net.Conn) error {
	var w work
	var msg []byte
	in := bufio.NewReaderSize(conn, 4096)
	for {
		var size [2]byte
		if _, err := io.ReadFull(in, size[:]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint16(size[:]))
		msg = slices.Grow(msg[:0], n)[:n]
		if _, err := io.ReadFull(in, msg); err != nil {
			return err
		}
		if err := p.streamed(st, msg, &w); err != nil {
			return err
		}
		p.do(&w)
	}
}

var errNotAnAnswer = errors.New("the server sent something else than an answer")

// streamed takes one message of a connection. What is no answer ends the connection: nobody but the server can have sent it.
func (p *Pool) streamed(st *stream, msg []byte, w *work) error {
	var r reading
	if !r.read(msg) {
		p.metrics.dropped[dropMalformed].Inc()
		return errNotAnAnswer
	}
	now := p.clk.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	st.worked, st.used = true, now
	f := st.pending[r.id]
	if f == nil { // too late
		p.metrics.dropped[dropUnasked].Inc()
		return nil
	}
	t, s := &f.try, st.server
	e := r.compare(f.sent)
	if e == foreign {
		p.metrics.dropped[dropQuestion].Inc()
		return errNotAnAnswer
	}
	if t.overTCP == forCase && e == recased {
		s.plainUntil = now.Add(withoutCase)
	}
	if t.cookied && !s.takeCookie(r.cookie, now) {
		s.withoutCookies(now)
	}
	if t.simpler(&r) {
		p.launch(f, now, w)
		return nil
	}
	p.succeed(f, msg, &r, now, w)
	return nil
}

// hungUp looks after those who wait on a connection that ended. One that had worked may have been closed for being idle just when
// they came: they get another one, once (RFC 7766 section 6.2.4).
func (p *Pool) hungUp(st *stream, err error) {
	var w work
	now := p.clk.Now()
	p.mu.Lock()
	p.retire(st)
	delete(p.streams, st)
	for _, f := range slices.Collect(maps.Values(st.pending)) {
		if st.worked && !f.try.again {
			f.try.again = true
			p.launch(f, now, &w)
			continue
		}
		p.fail(f, err, false, now, &w)
	}
	for _, k := range st.out {
		p.packets.Put(k)
	}
	st.out = nil
	p.mu.Unlock()
	p.do(&w)
}
