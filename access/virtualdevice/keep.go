package virtualdevice

import (
	"context"
	"log/slog"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/fault"
)

// Pauses between attempts to connect.
const (
	firstPause = time.Second
	lastPause  = time.Minute
	lasting    = 30 * time.Second // a connection that lasted so long was none in vain
)

// keep keeps an identity connected until ctx ends. opened is called when it is; its context ends with the connection, and what it returns
// gets every message that comes and must not wait. note is told how it stands.
func (h *Host) keep(ctx context.Context, id *identity, log *slog.Logger, note func(connected bool, trouble string),
	opened func(context.Context, *client) (take func(topic, payload []byte)), filters ...string,
) {
	defer note(false, "")
	pause := backoff.Backoff{Base: firstPause, Max: lastPause}
	for attempt := 0; ; {
		begun := h.clk.Now()
		err := h.once(ctx, id, log, inWebSocket(id, attempt), note, opened, filters)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil: // to renew the token
			continue
		case fault.KindOf(err) == fault.Unavailable && !connected(err) || fault.KindOf(err) == fault.Timeout:
			attempt++ // perhaps it is the way
		}
		if h.clk.Now().Sub(begun) >= lasting {
			pause.Reset()
		}
		note(false, words(err))
		log.Warn("virtual device: not connected", "hub", id.hub, "err", err)
		if !pause.Wait(ctx, h.clk) {
			return
		}
	}
}

// once connects once, and returns when the connection has ended.
func (h *Host) once(ctx context.Context, id *identity, log *slog.Logger, web bool, note func(bool, string),
	opened func(context.Context, *client) func(topic, payload []byte), filters []string,
) error {
	c, err := h.connect(ctx, id, web, filters...)
	if err != nil {
		return err
	}
	note(true, "")
	log.Info("virtual device: connected", "hub", id.hub, "at", id.dial, "inWebSocket", web)
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	err = h.serve(ctx, c, opened(own, c))
	if err == nil {
		return nil
	}
	return &lost{err}
}

// lost is why a connection ended that there was.
type lost struct{ error }

func (l *lost) Unwrap() error { return l.error }

func connected(err error) bool {
	_, ok := err.(*lost) //nolint:errorlint // once returns it as it is
	return ok
}

// inWebSocket tells how to try: the two ways in turn, unless a port stands behind the host's name.
func inWebSocket(id *identity, attempt int) bool {
	_, port := splitHost(id.dial, "")
	return port == "" && attempt%2 == 1
}

func words(err error) string {
	text := fault.Message(err)
	if next := fault.Next(err); next != "" {
		text += ". " + next
	}
	return text
}
