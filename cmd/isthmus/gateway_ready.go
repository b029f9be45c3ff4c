package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/gateway"
)

// serveReady answers a balancer's probe until ctx ends or the gateway has drained. The address is shared with the process that takes over,
// which answers as soon as this one does not accept any more.
func serveReady(ctx context.Context, addr string, g *gateway.Gateway, log *slog.Logger) {
	if addr == "" {
		return
	}
	lc := net.ListenConfig{Control: shareAddress}
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		log.Error("nobody can ask whether the gateway is ready", "address", addr, "error", err)
		return
	}
	var leaving atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(rw http.ResponseWriter, _ *http.Request) {
		switch {
		case leaving.Load():
			http.Error(rw, "draining", http.StatusServiceUnavailable)
			return
		case len(g.Listening()) == 0:
			http.Error(rw, "no listener is open", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(rw, "ready\n")
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, IdleTimeout: time.Second, MaxHeaderBytes: 8 << 10}
	go func() { _ = s.Serve(l) }()
	go func() {
		select {
		case <-g.HandedOver():
			_ = s.Close() // the other process answers on this address
			return
		case <-g.Leaving():
			leaving.Store(true)
		case <-g.Draining():
			leaving.Store(true)
		case <-ctx.Done():
		}
		<-ctx.Done()
		_ = s.Close()
	}()
}
