package signin

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

const (
	// askAgain is how long an answer, or a failure, of a provider stands for all who ask: tokens with made-up keys come as often as a
	// stranger likes.
	askAgain   = 5 * time.Second
	maxKeys    = 100
	maxModulus = 1400 // characters of base64url, for 8192 bits: the time to verify grows faster than the key
)

// memo answers what was asked a moment ago as it was answered then. It is asked for one URL: that of the keys.
type memo struct {
	next http.RoundTripper
	clk  clock.Clock

	mu     sync.Mutex // guards the fields below, and is held while asking
	at     time.Time
	status int
	header http.Header
	body   []byte
	err    error
}

func (m *memo) RoundTrip(r *http.Request) (*http.Response, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := m.clk.Now(); m.at.IsZero() || now.Sub(m.at) >= askAgain || now.Before(m.at) {
		m.at = now
		m.ask(r)
	}
	if m.err != nil {
		return nil, m.err
	}
	return &http.Response{StatusCode: m.status, Status: http.StatusText(m.status), Header: m.header, Body: io.NopCloser(bytes.NewReader(m.body)), Request: r}, nil
}

func (m *memo) ask(r *http.Request) {
	m.status, m.header, m.body = 0, nil, nil
	resp, err := m.next.RoundTrip(r)
	if m.err = err; err != nil {
		return
	}
	defer resp.Body.Close()
	m.status, m.header = resp.StatusCode, resp.Header
	if m.body, m.err = io.ReadAll(resp.Body); m.err == nil && m.status == http.StatusOK {
		m.err = checkKeys(m.body)
	}
}

// checkKeys refuses what would take long to verify with.
func checkKeys(body []byte) error {
	var set struct {
		Keys []struct {
			N string `json:"n"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return fault.New("signin.checkKeys", fault.Unavailable, "the identity provider's keys cannot be read").Because(err).Advise("check what its jwks_uri answers")
	}
	if len(set.Keys) > maxKeys {
		return fault.Newf("signin.checkKeys", fault.TooLarge, "the identity provider has %d keys", len(set.Keys)).Advise("it may have %d", maxKeys)
	}
	for _, k := range set.Keys {
		if len(k.N) > maxModulus {
			return fault.New("signin.checkKeys", fault.TooLarge, "the identity provider has a key of more than 8192 bits").Advise("let it sign with a smaller one")
		}
	}
	return nil
}
