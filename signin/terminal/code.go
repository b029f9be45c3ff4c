package terminal

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"net"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/signin"
)

// callback is the path of the redirect that is registered with the provider: http://127.0.0.1/callback, of which the port may be any
// (RFC 8252 7.3).
const callback = "/callback"

// answer is what the browser brought back.
type answer struct{ code, issuer, wrong, description string }

// Code signs in over a browser of this machine and returns the identity token.
func Code(ctx context.Context, cfg Config) (string, error) {
	m, err := signin.Discover(ctx, cfg.Provider, signin.Config{Private: true})
	if err != nil {
		return "", err
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fault.New("terminal.Code", fault.Unavailable, "no port of 127.0.0.1 can be listened on").Because(err).Advise("sign in over another machine's browser: isthmus login --device")
	}
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	answers, stop := serve(ln, state)
	defer stop()

	oc := cfg.oauth(m)
	oc.RedirectURL = "http://" + ln.Addr().String() + callback
	at := oc.AuthCodeURL(state, oidc.Nonce(cfg.Nonce), oauth2.S256ChallengeOption(verifier))
	cfg.Show(Step{URL: at, Opened: cfg.Open != nil && cfg.Open(at) == nil})

	var got answer
	select {
	case got = <-answers:
	case <-ctx.Done():
		return "", fault.New("terminal.Code", fault.Unavailable, "nobody signed in").Because(ctx.Err()).Advise("begin again, and open the URL that is shown")
	}
	switch {
	case got.issuer != "" && got.issuer != cfg.Provider.Issuer, got.issuer == "" && m.NamesItself: // RFC 9207 2.4
		return "", fault.Newf("terminal.Code", fault.Denied, "the browser was answered by another provider than %s", cfg.Provider.Issuer).Advise("begin again; do not open links that you did not ask for")
	case got.wrong != "":
		return "", said(cfg.Provider, got.wrong, got.description)
	}
	t, err := oc.Exchange(oidc.ClientContext(ctx, m.Client), got.code, oauth2.VerifierOption(verifier))
	if err != nil {
		return "", refused(cfg.Provider, err)
	}
	return identityToken(cfg.Provider, t)
}

// serve answers the browser until stop is called, which waits for what is under way. The first answer with the right state is the one.
func serve(ln net.Listener, state string) (answers <-chan answer, stop func()) {
	got := make(chan answer, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+callback, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) != 1 {
			page(w, http.StatusBadRequest, "This is not the sign-in that was begun.", "Begin again in the terminal.")
			return
		}
		a := answer{code: q.Get("code"), issuer: q.Get("iss"), wrong: q.Get("error"), description: q.Get("error_description")}
		if a.code == "" && a.wrong == "" {
			page(w, http.StatusBadRequest, "The provider answered nothing.", "Begin again in the terminal.")
			return
		}
		if a.wrong != "" {
			page(w, http.StatusOK, "You are not signed in.", "The terminal says why. You may close this.")
		} else {
			page(w, http.StatusOK, "Go back to the terminal.", "It finishes the sign-in. You may close this.")
		}
		select {
		case got <- a:
		default: // the browser asked twice
		}
	})
	s := &http.Server{Handler: local(ln.Addr().String(), mux), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, MaxHeaderBytes: 32 << 10}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(ln) // ends by stop, which there is nothing to say about
	}()
	return got, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) // the page is on its way
		defer cancel()
		if s.Shutdown(ctx) != nil {
			_ = s.Close()
		}
		<-ended
	}
}

// local refuses requests that a browser sends for another host: pages elsewhere can make it ask us under a name of theirs.
func local(host string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != host {
			page(w, http.StatusForbidden, "This is for another program.", "Nothing happened.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// page is all a person sees here. It takes its texts from this file only.
func page(w http.ResponseWriter, status int, title, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the address has the code in it
	h.Set("Connection", "close")
	w.WriteHeader(status)
	_, _ = w.Write([]byte("<!doctype html><meta charset=utf-8><title>Isthmus</title><style>body{font:1.1em/1.6 sans-serif;margin:20vh auto;max-width:30em}</style><h1>" +
		title + "</h1><p>" + text + "</p>\n"))
}
