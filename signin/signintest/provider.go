package signintest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
)

// ClientID is the client that every Provider knows.
const ClientID = "isthmus"

// Provider is an OpenID Connect provider.
type Provider struct {
	Issuer string
	// CA is PEM it is verified by; empty without TLS.
	CA string

	server *httptest.Server
	clk    clock.Clock

	mu       sync.Mutex // guards the fields below
	key      key
	person   Claims // whom it signs in next
	codes    map[string]begun
	answers  []string // of the token endpoint to the device code, until it has a token
	asked    map[string]int
	metadata map[string]any // put over what it says of itself
	down     bool
	interval int
}

// begun is a sign-in under way.
type begun struct{ nonce, challenge, redirect string }

// Start begins to serve, with TLS where secure is set. It signs in whom Person names, at the time of clk.
func Start(clk clock.Clock, secure bool) *Provider {
	p := &Provider{clk: clk, key: newKey(), codes: map[string]begun{}, asked: map[string]int{}, metadata: map[string]any{}, interval: 5}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.describe)
	mux.HandleFunc("GET /keys", p.keys)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("POST /device", p.device)
	p.server = httptest.NewUnstartedServer(p.counted(mux))
	if secure {
		p.server.StartTLS()
		p.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw}))
	} else {
		p.server.Start()
	}
	p.Issuer = p.server.URL
	return p
}

// Close ends the server.
func (p *Provider) Close() { p.server.Close() }

// Person says whom to sign in from now on: claims beside the usual ones, sub among them. error and error_description refuse.
func (p *Provider) Person(c Claims) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.person = c
}

// Rotate replaces the key; tokens of the old one are good for nobody who asks again.
func (p *Provider) Rotate() {
	k := newKey()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key = k
}

// Down has it answer nothing but 503, or again.
func (p *Provider) Down(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// Say puts a member over its metadata.
func (p *Provider) Say(member string, value any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.metadata[member] = value
}

// Answer has the token endpoint refuse a device code with these errors before it gives a token.
func (p *Provider) Answer(errors ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers = errors
}

// Interval is how many seconds there must be between two questions for a device's token; 5 until it is set.
func (p *Provider) Interval(seconds int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.interval = seconds
}

// Asked tells how often a path was asked for.
func (p *Provider) Asked(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

// Key is what it publishes of its key: its name, and a coordinate, as text.
func (p *Provider) Key() (id, x string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.key.public()
	return k["kid"], k["x"]
}

// Claims are the usual ones of a token for ClientID, made now, with others put in; one that is nil is taken out.
func (p *Provider) Claims(others Claims) Claims {
	now := p.clk.Now()
	return Claims{"iss": p.Issuer, "aud": ClientID, "sub": "s-1", "iat": stamp(now), "exp": stamp(now.Add(time.Hour))}.with(others)
}

// Token signs the usual claims with others put in.
func (p *Provider) Token(others Claims) string {
	c := p.Claims(others)
	p.mu.Lock()
	k := p.key
	p.mu.Unlock()
	return k.signed(c)
}

func (p *Provider) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked[r.URL.Path]++
		down := p.down
		p.mu.Unlock()
		if down {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a test that is gone does not care
}

func (p *Provider) describe(w http.ResponseWriter, _ *http.Request) {
	said := map[string]any{
		"issuer": p.Issuer, "authorization_endpoint": p.Issuer + "/authorize", "token_endpoint": p.Issuer + "/token", "jwks_uri": p.Issuer + "/keys",
		"device_authorization_endpoint": p.Issuer + "/device", "id_token_signing_alg_values_supported": []string{"ES256"},
		"code_challenge_methods_supported": []string{"S256"}, "authorization_response_iss_parameter_supported": true,
	}
	p.mu.Lock()
	for k, v := range p.metadata {
		said[k] = v
	}
	p.mu.Unlock()
	reply(w, http.StatusOK, said)
}

func (p *Provider) keys(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	k := p.key.public()
	p.mu.Unlock()
	reply(w, http.StatusOK, map[string]any{"keys": []any{k}})
}

// authorize signs the person in without asking (RFC 6749 4.1.1).
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	back := url.Values{"state": {q.Get("state")}, "iss": {p.Issuer}}
	p.mu.Lock()
	defer p.mu.Unlock()
	if wrong, _ := p.person["error"].(string); wrong != "" {
		said, _ := p.person["error_description"].(string)
		back.Set("error", wrong)
		back.Set("error_description", said)
	} else {
		code := rand.Text()
		p.codes[code] = begun{q.Get("nonce"), q.Get("code_challenge"), q.Get("redirect_uri")}
		back.Set("code", code)
	}
	if q.Get("client_id") != ClientID || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" {
		http.Error(w, "no such client, or no PKCE", http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusSeeOther)
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	refuse := func(wrong string) { reply(w, http.StatusBadRequest, map[string]string{"error": wrong}) }
	p.mu.Lock()
	person := p.person
	c, known := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	device := r.PostFormValue("grant_type") == "urn:ietf:params:oauth:grant-type:device_code"
	next := ""
	if device && len(p.answers) > 0 {
		next, p.answers = p.answers[0], p.answers[1:]
	}
	p.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	switch {
	case device && next != "":
		refuse(next)
		return
	case device && r.PostFormValue("device_code") != "dc-1", !device && !known, r.PostFormValue("client_id") != ClientID,
		!device && (c.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) || c.redirect != r.PostFormValue("redirect_uri")):
		refuse("invalid_grant")
		return
	}
	if c.nonce != "" {
		person = person.with(Claims{"nonce": c.nonce})
	}
	reply(w, http.StatusOK, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 3600, "id_token": p.Token(person)})
}

func (p *Provider) device(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	interval := p.interval
	p.mu.Unlock()
	reply(w, http.StatusOK, map[string]any{
		"device_code": "dc-1", "user_code": "WDJB-MJHT", "verification_uri": p.Issuer + "/activate", "expires_in": 600, "interval": interval,
	})
}
