package resolver

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/resolver/message"
)

const (
	httpsPath   = "/dns-query"
	messageType = "application/dns-message"
)

// serveHTTPS answers requests (RFC 8484) until ctx ends.
func (r *Resolver) serveHTTPS(ctx context.Context, ln net.Listener) error {
	var ends sync.WaitGroup // of connections, and of requests, which HTTP/2 answers on goroutines of their own
	mux := http.NewServeMux()
	mux.HandleFunc(httpsPath, func(w http.ResponseWriter, req *http.Request) {
		ends.Add(1)
		defer ends.Done()
		r.answerHTTPS(w, req)
	})
	srv := &http.Server{
		ConnState: func(_ net.Conn, st http.ConnState) {
			switch st {
			case http.StateNew:
				ends.Add(1)
			case http.StateClosed, http.StateHijacked:
				ends.Done()
			case http.StateActive, http.StateIdle:
			}
		},
		Handler:           mux,
		TLSConfig:         r.tlsConfig("h2", "http/1.1"),
		ReadHeaderTimeout: r.cfg.TCPIdle,
		ReadTimeout:       r.cfg.TCPIdle,
		WriteTimeout:      r.cfg.TCPIdle + r.cfg.QueryTimeout,
		IdleTimeout:       3 * r.cfg.TCPIdle, // shaking hands anew costs both sides more than a connection that waits
		MaxHeaderBytes:    8 << 10,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 4 * r.cfg.TCPDepth},
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	err := srv.ServeTLS(ln, "", "")
	_ = srv.Close()
	ends.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// answerHTTPS answers one request. What is wrong with the request is said by HTTP, what is wrong with the query by DNS (section 4.2.1).
func (r *Resolver) answerHTTPS(w http.ResponseWriter, req *http.Request) {
	packet, status, words := queryOf(w, req)
	if status != 0 {
		http.Error(w, words, status)
		return
	}
	client, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		http.Error(w, "the client has no address", http.StatusBadRequest)
		return
	}
	reply, ok := r.ask(req.Context(), packet, netip.AddrPortFrom(client.Addr().Unmap(), client.Port()))
	switch {
	case !ok: // the client is gone
		return
	case len(reply) == 0:
		http.Error(w, "the body is no DNS query", http.StatusBadRequest)
		return
	}
	h := w.Header()
	h.Set("Content-Type", messageType)
	h.Set("Content-Length", strconv.Itoa(len(reply)))
	h.Set("Cache-Control", fmt.Sprintf("max-age=%d", freshness(reply)))
	_, _ = w.Write(reply) //nolint:gosec // a DNS message, declared as one; the client may be gone
}

// queryOf reads the message of a request. A status other than 0 is the answer.
func queryOf(w http.ResponseWriter, req *http.Request) (packet []byte, status int, words string) {
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		packet, err := base64.RawURLEncoding.DecodeString(req.URL.Query().Get("dns"))
		if err != nil || len(packet) == 0 {
			return nil, http.StatusBadRequest, "give the query as ?dns= in base64url without padding (RFC 8484 section 4.1)"
		}
		return packet, 0, ""
	case http.MethodPost:
		if kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || kind != messageType {
			return nil, http.StatusUnsupportedMediaType, "the body must be " + messageType
		}
		packet, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxMessage))
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, http.StatusRequestEntityTooLarge, "a DNS message has at most 65,535 bytes"
		}
		if err != nil {
			return nil, http.StatusBadRequest, "the body was not whole"
		}
		return packet, 0, ""
	}
	w.Header().Set("Allow", "GET, HEAD, POST")
	return nil, http.StatusMethodNotAllowed, "use GET or POST"
}

// ask answers one query and waits for upstreams where that needs them, for as long as ctx lasts. The reply is the caller's.
func (r *Resolver) ask(ctx context.Context, packet []byte, client netip.AddrPort) (reply []byte, ok bool) {
	d := r.desks.Get().(*desk) //nolint:forcetypeassert // its own
	d.open()
	reply, more := d.answer(nil, packet, client, overHTTPS)
	var x *exchange
	if more {
		x, reply = d.exchange()
	}
	d.close()
	d.v.Body, d.st, d.why = nil, nil, nil
	r.desks.Put(d)
	if x == nil {
		return reply, true
	}
	got := make(chan []byte, 1)
	x.to = func(reply []byte) { got <- append([]byte(nil), reply...) }
	x.start()
	select {
	case reply = <-got:
		return reply, true
	case <-ctx.Done():
		return nil, false
	}
}

// freshness is for how many seconds a reply may be kept: the smallest TTL of its answers, or of what says that there are none (RFC 8484
// section 5.1).
func freshness(reply []byte) uint32 {
	const longest = uint32(24 * time.Hour / time.Second)
	least, found := longest, false
	for rd, ok := message.Read(reply); ok; {
		rec, more := rd.Next()
		if !more || rec.Section == message.Additional {
			break
		}
		least, found = min(least, rec.TTL), true
	}
	if !found {
		return 0
	}
	return least
}
