package terminal_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/signin"
	"github.com/isthmus-io/isthmus/signin/signintest"
	"github.com/isthmus-io/isthmus/signin/terminal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var t0 = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

func start(t *testing.T) (*signintest.Provider, *clock.Fake, terminal.Config) {
	t.Helper()
	clk := clock.NewFake(t0)
	p := signintest.Start(clk, true)
	t.Cleanup(p.Close)
	return p, clk, terminal.Config{
		Provider: signin.Provider{Name: "ot/corp", Issuer: p.Issuer, ClientID: signintest.ClientID, CA: p.CA},
		Scopes:   []string{"profile"}, Nonce: "n-1", Clock: clk,
	}
}

// browse is a browser that trusts the provider, follows it and returns the last page.
func browse(t *testing.T, p *signintest.Provider, at string) (int, string) {
	t.Helper()
	m, err := signin.Discover(t.Context(), signin.Provider{Issuer: p.Issuer, CA: p.CA}, signin.Config{Private: true})
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	c := &http.Client{Transport: m.Client.Transport} // which follows redirects, as browsers do
	resp, err := c.Get(at)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func claims(t *testing.T, token string) map[string]any {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(token+"..", ".")[1])
	var c map[string]any
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		t.Fatalf("%q: %v", token, err)
	}
	return c
}

func want(t *testing.T, err error, kind fault.Kind, words string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || !strings.Contains(fault.Message(err), words) {
		t.Errorf("got %v\nwant %s: %s", err, kind, words)
	} else if fault.Next(err) == "" {
		t.Errorf("no advice with %v", err)
	}
}

func TestCodeOverABrowser(t *testing.T) {
	p, _, cfg := start(t)
	p.Person(signintest.Claims{"sub": "s-7"})
	opened := make(chan string, 1)
	cfg.Open = func(at string) error { opened <- at; return nil }
	cfg.Show = func(s terminal.Step) {
		if !s.Opened || s.Code != "" || !strings.HasPrefix(s.URL, p.Issuer+"/authorize?") {
			t.Errorf("shown: %+v", s)
		}
		go func() {
			if status, text := browse(t, p, <-opened); status != http.StatusOK || !strings.Contains(text, "You may close this.") {
				t.Errorf("%d %s", status, text)
			}
		}()
	}
	token, err := terminal.Code(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if c := claims(t, token); c["sub"] != "s-7" || c["nonce"] != "n-1" || c["aud"] != signintest.ClientID {
		t.Error(c)
	}
}

// back is where the browser is to come back to, and with what.
func back(t *testing.T, shown string) (redirect, state string, q url.Values) {
	t.Helper()
	u, err := url.Parse(shown)
	if err != nil {
		t.Fatal(err)
	}
	q = u.Query()
	return q.Get("redirect_uri"), q.Get("state"), q
}

func TestOnlyTheAnswerToThisSignInCounts(t *testing.T) {
	p, _, cfg := start(t)
	p.Person(signintest.Claims{"sub": "s-7"})
	cfg.Open = func(string) error { return errors.New("no browser") }
	cfg.Show = func(s terminal.Step) {
		if s.Opened {
			t.Error("a browser that did not open is said to")
		}
		redirect, state, q := back(t, s.URL)
		if u, err := url.Parse(redirect); err != nil || u.Hostname() != "127.0.0.1" || u.Scheme != "http" || len(q.Get("code_challenge")) != 43 || len(state) < 20 {
			t.Errorf("%s, %v", s.URL, q)
		}
		go func() {
			for name, c := range map[string]struct{ at, host string }{
				"another state":      {redirect + "?code=stolen&state=other", ""},
				"no state":           {redirect + "?code=stolen", ""},
				"another page":       {strings.Replace(redirect, "/callback", "/", 1) + "?code=stolen&state=" + state, ""},
				"nothing said":       {redirect + "?state=" + state, ""},
				"under another name": {redirect + "?code=stolen&state=" + state, "attacker.example"},
			} {
				req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, c.at, http.NoBody)
				if err != nil {
					t.Error(err)
					continue
				}
				req.Host = c.host
				resp, err := http.DefaultTransport.RoundTrip(req)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				_ = resp.Body.Close()
				if resp.StatusCode < 400 {
					t.Errorf("%s: %d", name, resp.StatusCode)
				}
			}
			browse(t, p, s.URL)
		}()
	}
	token, err := terminal.Code(t.Context(), cfg)
	if err != nil || claims(t, token)["sub"] != "s-7" {
		t.Errorf("%q, %v", token, err)
	}
	if p.Asked("/token") != 1 {
		t.Errorf("%d codes were tried", p.Asked("/token"))
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, c := range map[string]struct {
		answer url.Values
		kind   fault.Kind
		words  string
	}{
		"refused":           {url.Values{"error": {"access_denied"}, "error_description": {"not\x1b]0;you\x07"}}, fault.Denied, "the sign-in was refused: not ]0;you "},
		"a client unknown":  {url.Values{"error": {"unauthorized_client"}}, fault.Conflict, "does not let the client isthmus"},
		"another provider":  {url.Values{"code": {"x"}, "iss": {"https://elsewhere.example"}}, fault.Denied, "answered by another provider"},
		"who says not who":  {url.Values{"code": {"x"}, "iss": {""}}, fault.Denied, "answered by another provider"},
		"a code of nothing": {url.Values{"code": {"x"}}, fault.Conflict, "invalid_grant"},
	} {
		p, _, cfg := start(t)
		cfg.Show = func(s terminal.Step) {
			redirect, state, _ := back(t, s.URL)
			c.answer.Set("state", state)
			if !c.answer.Has("iss") {
				c.answer.Set("iss", p.Issuer)
			}
			go browse(t, p, redirect+"?"+c.answer.Encode())
		}
		_, err := terminal.Code(t.Context(), cfg)
		if fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.words) || fault.Next(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNobodySignsIn(t *testing.T) {
	_, _, cfg := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Show = func(terminal.Step) { cancel() }
	_, err := terminal.Code(ctx, cfg)
	want(t, err, fault.Unavailable, "nobody signed in")
}

// play advances the clock whenever somebody waits for it, until done is closed; it returns how much time that was.
func play(clk *clock.Fake, done <-chan struct{}) time.Duration {
	begun := clk.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return clk.Now().Sub(begun)
		case <-tick.C:
			if clk.Timers() > 1 { // the next question, and the end
				clk.Advance(time.Second)
			}
		}
	}
}

func device(t *testing.T, clk *clock.Fake, cfg terminal.Config) (string, time.Duration, error) {
	t.Helper()
	done := make(chan struct{})
	var token string
	var err error
	go func() {
		defer close(done)
		token, err = terminal.Device(t.Context(), cfg)
	}()
	took := play(clk, done)
	return token, took, err
}

func TestDeviceCode(t *testing.T) {
	p, clk, cfg := start(t)
	p.Person(signintest.Claims{"sub": "s-9"})
	p.Answer("authorization_pending", "slow_down", "authorization_pending")
	var shown terminal.Step
	cfg.Show = func(s terminal.Step) { shown = s }
	token, took, err := device(t, clk, cfg)
	if err != nil || claims(t, token)["sub"] != "s-9" || claims(t, token)["nonce"] != nil {
		t.Fatalf("%q, %v", token, err)
	}
	if shown.Code != "WDJB-MJHT" || shown.URL != p.Issuer+"/activate" || shown.Opened {
		t.Errorf("%+v", shown)
	}
	// Asked after 5, 5, and, slowed down, 10 and 10 seconds.
	if took < 30*time.Second || took > 33*time.Second || p.Asked("/token") != 4 {
		t.Errorf("%d questions in %v", p.Asked("/token"), took)
	}
}

func TestDeviceCodesThatComeToNothing(t *testing.T) {
	for answer, c := range map[string]struct {
		kind  fault.Kind
		words string
	}{
		"access_denied": {fault.Denied, "the sign-in was refused"},
		"expired_token": {fault.Timeout, "the code was not used in time"},
		"invalid_grant": {fault.Conflict, "invalid_grant"},
	} {
		p, clk, cfg := start(t)
		p.Answer(answer)
		cfg.Show = func(terminal.Step) {}
		_, _, err := device(t, clk, cfg)
		if fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.words) {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

func TestADeviceCodeLapses(t *testing.T) {
	p, clk, cfg := start(t)
	p.Interval(500)
	p.Answer("authorization_pending", "authorization_pending")
	cfg.Show = func(terminal.Step) {}
	_, took, err := device(t, clk, cfg)
	want(t, err, fault.Timeout, "not used in time")
	if took < 550*time.Second || took > 650*time.Second {
		t.Errorf("after %v", took)
	}
}

func TestProvidersWithoutDeviceCodes(t *testing.T) {
	p, _, cfg := start(t)
	p.Say("device_authorization_endpoint", "")
	_, err := terminal.Device(t.Context(), cfg)
	want(t, err, fault.Conflict, "offers no sign-in by device code")
}

func TestWhereABrowserIs(t *testing.T) {
	for _, remote := range []string{"SSH_CONNECTION", "SSH_TTY"} {
		env := map[string]string{remote: "x", "DISPLAY": ":0"}
		if terminal.Browser(func(name string) string { return env[name] }) != nil {
			t.Errorf("a browser is opened over %s", remote)
		}
	}
}
