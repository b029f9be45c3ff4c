package function

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/workload"
)

const (
	maxAnswer     = 64 << 20
	usualAttempts = 5
	longestWait   = 5 * time.Minute // that a Retry-After is obeyed
)

// HTTP is a step that asks a service.
type HTTP struct {
	spec     resource.HTTPFunction
	step     string
	bridge   string
	url      string
	end      *end.End
	client   *http.Client
	limit    time.Duration
	attempts int
	late     event.Origin // the event to which no answer came in time when it was asked about alone
	rounds   int          // how often that was so
	log      *slog.Logger
	clk      clock.Clock
}

func newHTTP(args bridge.StepArgs) *HTTP {
	h := &HTTP{
		spec: *args.Step.HTTP, step: args.Step.Name, bridge: args.Name, end: args.End, log: args.Log, clk: args.Clock,
		limit: time.Duration(args.Step.HTTP.TimeoutSeconds) * time.Second, attempts: args.Step.HTTP.Attempts,
	}
	if h.limit <= 0 {
		h.limit = resource.DefaultFunctionTime
	}
	if h.attempts <= 0 {
		h.attempts = usualAttempts
	}
	h.url = args.End.URL(h.spec.Plain) + h.spec.Path
	h.client = &http.Client{
		Transport:     args.End.Transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return h
}

// Close ends idle connections.
func (h *HTTP) Close(context.Context) error {
	h.client.CloseIdleConnections()
	return nil
}

// Process implements bridge.Step. An error means that the function is away, or answers nothing of use.
func (h *HTTP) Process(ctx context.Context, batch []*event.Event) ([]bridge.Outcome, error) {
	return chunks(batch, h.spec.BatchEvents, func(some []*event.Event) ([]bridge.Outcome, error) { return h.some(ctx, some) })
}

// verdict is how a request went.
type verdict uint8

const (
	fine    verdict = iota
	away            // of the function, whatever it is given
	late            // no answer in time: of the function, or of what it was given
	broken          // an answer that is of no use
	refused         // it says that what it was given is wrong
)

// trouble is a request that did not go well.
type trouble struct {
	verdict verdict
	words   string
	kind    fault.Kind
	wait    time.Duration // asked for by the function
	cause   error
}

// some asks about events that fit into one request.
func (h *HTTP) some(ctx context.Context, batch []*event.Event) ([]bridge.Outcome, error) {
	out, t, err := h.insist(ctx, batch, h.attempts)
	switch {
	case err != nil || t == nil:
		return out, err
	case t.verdict == away:
		return nil, h.fault(t)
	case len(batch) == 1 && t.verdict != late:
		return []bridge.Outcome{refuse("%s", t.words)}, nil
	case len(batch) == 1:
		return h.oneLate(batch[0], t)
	}
	return h.oneByOne(ctx, batch, t)
}

// lateRounds is how often an event that is alone may go unanswered before that is taken for its own fault.
const lateRounds = 3

// oneLate is one event to which no answer came in time, however often it was asked about. Most often the function hangs, which is waited
// for; but an event that makes it hang must not hold up for ever what follows.
func (h *HTTP) oneLate(e *event.Event, t *trouble) ([]bridge.Outcome, error) {
	if h.late != e.Origin {
		h.late, h.rounds = e.Origin, 0
	}
	if h.rounds++; h.rounds < lateRounds {
		return nil, h.fault(t)
	}
	return []bridge.Outcome{refuse("%s, %d times", t.words, h.rounds*h.attempts)}, nil
}

// oneByOne finds out which events of a batch are the trouble.
func (h *HTTP) oneByOne(ctx context.Context, batch []*event.Event, first *trouble) ([]bridge.Outcome, error) {
	h.log.Info("a function does not take a batch: its events are given one by one", "step", h.step, "events", len(batch), "reason", first.words)
	out := make([]bridge.Outcome, len(batch))
	var lates []int
	answered := false
	for i := range batch {
		one, t, err := h.insist(ctx, batch[i:i+1], 1)
		switch {
		case err != nil:
			return nil, err
		case t == nil:
			out[i], answered = one[0], true
		case t.verdict == away:
			return nil, h.fault(t)
		case t.verdict == late:
			if lates = append(lates, i); !answered && len(lates) == 3 {
				return nil, h.fault(t) // it hangs whatever it is given
			}
		case t.verdict == broken: // once more: it may have been in trouble for a moment
			if one, t, err = h.insist(ctx, batch[i:i+1], min(h.attempts, 2)); err != nil {
				return nil, err
			}
			answered = true
			switch {
			case t == nil:
				out[i] = one[0]
			case t.verdict == away:
				return nil, h.fault(t)
			default:
				out[i] = refuse("%s", t.words)
			}
		default:
			out[i], answered = refuse("%s", t.words), true
		}
	}
	if !answered {
		return nil, h.fault(first)
	}
	for _, i := range lates {
		one, t, err := h.insist(ctx, batch[i:i+1], 1)
		switch {
		case err != nil:
			return nil, err
		case t == nil:
			out[i] = one[0]
		case t.verdict == away:
			return nil, h.fault(t)
		default:
			out[i] = refuse("%s", t.words)
		}
	}
	return out, nil
}

// insist asks until there is an answer, so often at most; it tells of the last trouble. The error is the context's.
func (h *HTTP) insist(ctx context.Context, batch []*event.Event, attempts int) ([]bridge.Outcome, *trouble, error) {
	pause := backoff.Backoff{Base: 200 * time.Millisecond, Max: 10 * time.Second}
	for n := 1; ; n++ {
		out, t := h.ask(ctx, batch)
		if t == nil {
			return out, nil, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if t.verdict == refused || n >= attempts {
			return nil, t, nil
		}
		fired, stop := h.clk.After(max(pause.Next(), t.wait))
		select {
		case <-fired:
		case <-ctx.Done():
			stop()
			return nil, nil, ctx.Err()
		}
	}
}

// ask makes one request.
func (h *HTTP) ask(ctx context.Context, batch []*event.Event) ([]bridge.Outcome, *trouble) {
	ctx, cancel := context.WithTimeout(ctx, h.limit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(appendBatch(nil, batch)))
	if err != nil {
		return nil, &trouble{verdict: away, kind: fault.Invalid, words: "the function's path makes no URL", cause: err}
	}
	for name, value := range h.spec.Headers {
		r.Header.Set(name, value)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Isthmus-Bridge", h.bridge)
	if t := h.authorize(ctx, r); t != nil {
		return nil, t
	}
	resp, err := h.client.Do(r)
	if err != nil {
		return nil, h.unanswered(ctx, err)
	}
	defer resp.Body.Close() // read only
	if resp.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection may be used again
		return nil, h.status(resp)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, h.unanswered(ctx, err)
	case len(b) > maxAnswer:
		return nil, &trouble{verdict: broken, kind: fault.TooLarge, words: "the function's answer is larger than 64 MiB"}
	}
	out, err := parseAnswer(b, batch)
	if err != nil {
		return nil, &trouble{verdict: broken, kind: fault.Invalid, words: fault.Message(err), cause: err}
	}
	return out, nil
}

func (h *HTTP) authorize(ctx context.Context, r *http.Request) *trouble {
	switch {
	case h.end.Secret != "":
		r.Header.Set("Authorization", h.end.Secret)
	case h.spec.Secret == "" && h.end.Token != nil && h.end.HostName != "":
		t, err := h.end.Token(ctx, workload.Audience(h.end.HostName))
		if err != nil {
			return &trouble{verdict: away, kind: fault.KindOf(err), words: "there is no token for the function: " + fault.Message(err), cause: err}
		}
		r.Header.Set("Authorization", "Bearer "+t.Text)
	}
	return nil
}

// unanswered is a request to which nothing came back.
func (h *HTTP) unanswered(ctx context.Context, err error) *trouble {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &trouble{verdict: late, kind: fault.Timeout, words: "the function did not answer within " + h.limit.String(), cause: err}
	}
	if f, ok := errors.AsType[*fault.Error](err); ok { // the end's own words: the endpoint is not approved, the service has no such port
		return &trouble{verdict: away, kind: f.Kind, words: f.Message, cause: err}
	}
	return &trouble{verdict: away, kind: fault.Unavailable, words: "the function cannot be reached", cause: err}
}

// status is an answer other than 200.
func (h *HTTP) status(resp *http.Response) *trouble {
	code := resp.StatusCode
	t := &trouble{verdict: refused, kind: fault.Invalid, words: "the function answered " + strconv.Itoa(code) + " " + http.StatusText(code)}
	switch {
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusProxyAuthRequired:
		t.verdict, t.kind = away, fault.Denied
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed, code >= 300 && code < 400:
		t.verdict, t.kind = away, fault.NotFound
	case code == http.StatusTooManyRequests, code == http.StatusBadGateway, code == http.StatusServiceUnavailable, code == http.StatusGatewayTimeout:
		t.verdict, t.kind, t.wait = away, fault.Unavailable, h.retryAfter(resp.Header.Get("Retry-After"))
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code >= 500, code < 300:
		t.verdict, t.kind = broken, fault.Unavailable
	}
	return t
}

// retryAfter reads seconds or a date (RFC 9110, section 10.2.3).
func (h *HTTP) retryAfter(s string) time.Duration {
	if s == "" {
		return 0
	}
	if n, err := strconv.Atoi(s); err == nil {
		return min(max(time.Duration(n)*time.Second, 0), longestWait)
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(h.clk.Now()), 0), longestWait)
}

// fault is for the status of the bridge, which waits.
func (h *HTTP) fault(t *trouble) error {
	kind := t.kind
	if kind == fault.Invalid || kind == fault.TooLarge || kind == fault.Internal { // waiting may mend it
		kind = fault.Unavailable
	}
	return fault.New("function.HTTP", kind, t.words).Advise("look at the service behind the endpoint %s", h.end.Name).Because(t.cause)
}
