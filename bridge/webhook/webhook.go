package webhook

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/partway"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

const (
	usualTimeout = 10 * time.Second
	mostEvents   = 1000
	mostBytes    = 1 << 20
	signs        = "hmac:" // begins a secret that is a key to sign with
)

type destination struct {
	bridge string
	end    *end.End
	spec   resource.HTTPDestination
	url    string
	header http.Header
	http   *http.Client
	clk    clock.Clock

	signing       string // the key; empty where nothing is signed
	authorization string // empty where there is none

	accounts partway.Accounts
	until    atomic.Int64 // the service asked for peace until then, in nanoseconds of Unix; 0: it did not
}

// New returns the HTTP service that args.Destination.HTTP describes. It opens no connection yet. Invalid: its path, or its secret, cannot be used.
//
// Faults of Write pass by themselves or when somebody mends them: Unavailable, Timeout, Exhausted, Unauthenticated, Denied, NotFound. Events
// that the service refuses one by one are *event.Refused.
func New(args bridge.DestinationArgs) (bridge.Destination, error) {
	const op = "webhook.New"
	spec, e := args.Destination.HTTP, args.End
	if spec == nil || e == nil {
		return nil, fault.New(op, fault.Invalid, "the destination is no HTTP service behind an endpoint")
	}
	d := &destination{bridge: args.Bridge, end: e, spec: *spec, clk: args.Clock, header: http.Header{}}
	if d.clk == nil {
		d.clk = clock.System{}
	}
	u, err := url.Parse(e.URL(spec.Plain) + spec.Path)
	if err != nil || !strings.HasPrefix(spec.Path, "/") || u.User != nil {
		return nil, fault.Newf(op, fault.Invalid, "the path %.100q cannot be in a URL", spec.Path).Advise("begin it with / and percent-encode what is no letter")
	}
	u.Fragment = ""
	d.url = u.String()
	for _, name := range slices.Sorted(maps.Keys(spec.Headers)) {
		d.header.Set(name, spec.Headers[name])
	}
	if d.spec.Method == "" {
		d.spec.Method = http.MethodPost
	}
	if err := d.credentials(op); err != nil {
		return nil, err
	}
	timeout := time.Duration(spec.TimeoutSeconds) * time.Second
	if timeout <= 0 {
		timeout = usualTimeout
	}
	transport := e.Transport()
	transport.MaxResponseHeaderBytes = maxAnswer
	d.http = &http.Client{
		Transport: transport, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if d.signing == "" && d.authorization != "" && spec.Plain && args.Log != nil {
		args.Log.Warn("the secret crosses the endpoint's service unencrypted: use https", slog.String("bridge", args.Name))
	}
	return d, nil
}

func (d *destination) credentials(op string) error {
	secret := d.end.Secret
	if key, ok := strings.CutPrefix(secret, signs); ok {
		if key == "" {
			return fault.New(op, fault.Invalid, "nothing follows hmac: in the secret").Advise("write the key behind it")
		}
		d.signing = key
		return nil
	}
	if strings.IndexFunc(secret, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0 {
		return fault.New(op, fault.Invalid, "the secret has more than one line, or what cannot be in a header").
			Advise("write what is to be sent as Authorization, such as Bearer and a token, or hmac: and a key")
	}
	d.authorization = secret
	return nil
}

// Close implements bridge.Destination.
func (d *destination) Close() error {
	d.http.CloseIdleConnections()
	return nil
}

// Write implements bridge.Destination.
func (d *destination) Write(ctx context.Context, lane string, batch []*event.Event) error {
	if err := d.peace(); err != nil {
		return err
	}
	w := &writing{d: d, batch: batch, account: d.accounts.Begin(lane, batch)}
	err := w.all(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return d.accounts.End(lane, batch, w.account, err)
}

// writing is one Write.
type writing struct {
	d       *destination
	batch   []*event.Event
	account *partway.Account
	body    []byte
	ends    []int // where each event of events ends in body
	events  []int // those that the request would have, by index in the batch
}

// all sends what is left of the batch.
func (w *writing) all(ctx context.Context) error {
	most := mostEvents
	if w.d.spec.Single {
		most = 1
	}
	for i := 0; i < len(w.batch); {
		w.body, w.ends, w.events = w.body[:0], w.ends[:0], w.events[:0]
		for ; i < len(w.batch) && len(w.events) < most; i++ {
			if w.account.Done(i) {
				continue
			}
			before := len(w.body)
			if !w.d.spec.Single {
				w.body = append(appendEvent(w.body, w.batch[i], w.d.bridge), ',')
			}
			if before > 0 && len(w.body) > mostBytes {
				w.body = w.body[:before]
				break
			}
			w.events, w.ends = append(w.events, i), append(w.ends, len(w.body))
		}
		if len(w.events) == 0 {
			continue
		}
		if err := w.deliver(ctx, 0, len(w.events)); err != nil {
			return err
		}
	}
	return nil
}

// deliver sends some of events, and their halves where the service does not take them together.
func (w *writing) deliver(ctx context.Context, begin, end int) error {
	var verdict answer
	if w.d.spec.Single {
		i := w.events[begin]
		header, err := w.d.headers(w.batch[i])
		if err != nil {
			w.account.Refuse(i, err)
			return nil
		}
		verdict = w.d.send(ctx, w.batch[i].Body, header)
	} else {
		from := 0
		if begin > 0 {
			from = w.ends[begin-1]
		}
		body := make([]byte, 0, w.ends[end-1]-from+1) // the transport may still read it when an early answer is there
		body = append(append(body, '['), w.body[from:w.ends[end-1]-1]...)
		verdict = w.d.send(ctx, append(body, ']'), nil)
	}
	switch {
	case verdict.err == nil:
		for _, i := range w.events[begin:end] {
			w.account.Take(i)
		}
	case !verdict.refused:
		return verdict.err
	case end-begin == 1:
		w.account.Refuse(w.events[begin], verdict.err)
	default:
		half := begin + (end-begin)/2
		if err := w.deliver(ctx, begin, half); err != nil {
			return err
		}
		return w.deliver(ctx, half, end)
	}
	return nil
}
