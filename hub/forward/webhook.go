package forward

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/isthmus-io/isthmus/fault"
)

const (
	postEvents = 100       // in one POST
	postBytes  = 256 << 10 // about, in one POST; a single larger event goes alone
	longestAsk = 5 * time.Minute
)

// Headers of a POST.
const (
	headerEndpoint  = "Isthmus-Endpoint"
	headerSignature = "Isthmus-Signature"
)

// webhook posts events as a JSON array.
type webhook struct {
	*sender
	client *http.Client
	key    []byte
}

func newWebhook(s *sender) (*webhook, error) {
	w := &webhook{sender: s}
	var err error
	if w.key, err = base64.StdEncoding.DecodeString(s.endpoint.Key); err != nil {
		return nil, fault.Wrap("forward.webhook", fault.Internal, err, "the stored key of an endpoint is no base64")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.endpoint.Authority != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(s.endpoint.Authority)) {
			return nil, fault.New("forward.webhook", fault.Internal, "the stored authority of an endpoint is no certificate")
		}
	}
	w.client = &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
			MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		},
		// Where events go is what was configured, not what a server says.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return w, nil
}

func (w *webhook) ahead() int64 { return postEvents }

func (w *webhook) close() { w.client.CloseIdleConnections() }

func (w *webhook) gather(ctx context.Context, l *lane, from int64) (batch, error) {
	if err := w.stream.Wait(ctx, l.partition, from); err != nil {
		return batch{}, err
	}
	list, err := w.stream.Events(ctx, l.partition, from, postEvents)
	if err != nil || len(list) == 0 { // none: trimmed meanwhile
		return batch{}, err
	}
	size := 0
	for i, e := range list {
		if size += len(e.Body); size > postBytes && i > 0 {
			list = list[:i]
			break
		}
	}
	return batch{events: list, first: list[0].Enqueued, end: list[len(list)-1].Sequence + 1}, nil
}

func (w *webhook) deliver(ctx context.Context, _ *lane, b *batch, seen int64) error {
	op := "forward.deliver"
	body := []byte{'['}
	for i, e := range b.events {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, line(w.hub.ID(), w.endpoint.Name, e, e.Sequence < seen)...)
	}
	body = append(body, ']')
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.endpoint.URL, bytes.NewReader(body))
	if err != nil {
		return fault.New(op, fault.Internal, "the endpoint's address cannot be used") // the cause would show it
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("User-Agent", "isthmus-hub")
	r.Header.Set(headerEndpoint, w.endpoint.Name)
	if len(w.key) > 0 {
		r.Header.Set(headerSignature, sign(w.key, w.f.clock.Now(), body))
	}
	answer, err := w.client.Do(r)
	if err != nil {
		if whole, ok := errors.AsType[*url.Error](err); ok {
			err = whole.Err // without the address, which may hold a secret
		}
		if ctx.Err() != nil {
			return fault.New(op, fault.Timeout, "the endpoint did not answer in time").Because(err)
		}
		return fault.Wrap(op, fault.Unavailable, err, "the endpoint cannot be reached: "+reason(err))
	}
	defer func() { _ = answer.Body.Close() }() // it was read as far as it matters
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	return judge(answer, text)
}

// reason is the innermost of an error's words: who reads them knows what was tried.
func reason(err error) string {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err.Error()
}

// busy is a failure after which the target asked for a pause.
type busy struct {
	error
	wait time.Duration
}

func (b *busy) Unwrap() error { return b.error }

// judge tells success, a target that is not well, and a target that does not want what it got.
func judge(answer *http.Response, text []byte) error {
	op := "forward.deliver"
	if answer.StatusCode/100 == 2 {
		return nil
	}
	said := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(string(text[:min(len(text), 200)]), "?"))
	err := fault.Newf(op, fault.Unavailable, "the endpoint answered %d %s", answer.StatusCode, strings.TrimSpace(said))
	switch answer.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		err.Kind = fault.Invalid
		return &refused{err}
	}
	if seconds, perr := strconv.Atoi(answer.Header.Get("Retry-After")); perr == nil && seconds > 0 {
		return &busy{err, min(time.Duration(seconds)*time.Second, longestAsk)}
	}
	return err
}

// sign returns "t={unix seconds},v1={hex of HMAC-SHA256 over the seconds, a dot and the body}".
func sign(key []byte, now time.Time, body []byte) string {
	t := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
