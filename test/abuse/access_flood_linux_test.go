package abuse

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
)

// knocker asks the API by hand, over few connections.
type knocker struct {
	p    *shop
	http *http.Client
}

func (p *shop) knocker() *knocker {
	p.t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(p.roots) {
		p.t.Fatal("no roots")
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 64}
	p.t.Cleanup(tr.CloseIdleConnections)
	return &knocker{p, &http.Client{Transport: tr}}
}

// asks sends one request and returns the status; 0 when there was none.
func (k *knocker) asks(ctx context.Context, token, method, path string, body any) int {
	var b []byte
	if body != nil {
		b, _ = json.Marshal(body)
	}
	q, err := http.NewRequestWithContext(ctx, method, "https://"+k.p.address+path, bytes.NewReader(b))
	if err != nil {
		return 0
	}
	q.Header.Set("Content-Type", "application/json")
	if token != "" {
		q.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := k.http.Do(q)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// pours has many ask as fast as they are answered, for a while, and returns how often each status came.
func pours(ctx context.Context, many int, long time.Duration, ask func(context.Context) int) map[int]int {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	var mu sync.Mutex // guards came
	came := map[int]int{}
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			for ctx.Err() == nil {
				status := ask(ctx)
				if ctx.Err() != nil {
					return
				}
				mu.Lock()
				came[status]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return came
}

// office is people who ask and approve properly, each as often as he may.
func (p *shop) office(n int) (once func() error) {
	p.t.Helper()
	bob := p.person("bob-of-the-office", resource.RoleApprover)
	var people []*somebody
	for range n {
		people = append(people, p.fresh())
	}
	var next atomic.Int64
	return func() error {
		ctx := context.Background()
		i := int(next.Add(1)-1) % n
		g, err := people[i].RequestAccess(ctx, client.GrantRequest{Target: "ot/plant-7/echo", Reason: because})
		if err == nil {
			_, err = bob.DecideGrant(ctx, g.ID, "approve", "", 0)
		}
		if err == nil {
			_, err = people[i].DecideGrant(ctx, g.ID, "revoke", "", 0)
		}
		return err
	}
}

// One person who asks as fast as he can, for whatever there is to ask for, delays others somewhat, and fills nothing.
func TestOnePersonAsksWithoutEnd(t *testing.T) {
	p := startShop(t)
	ctx := t.Context()
	mallory, bob := p.person("mallory", resource.RoleOperator).login(), p.person("bob", resource.RoleApprover, resource.RoleAuditor).login()
	waiting, err := mallory.RequestAccess(ctx, client.GrantRequest{Target: "ot/plant-7/echo", Reason: because})
	must(t, err)
	mallory.arrives(mallory.letIn(bob, client.GrantRequest{}))
	key, _, err := identity.NewKey()
	must(t, err)
	csr, err := identity.NewRequest(key, "")
	must(t, err)
	request := map[string]string{"target": "ot/plant-7/echo", "reason": because}
	k := p.knocker()
	people := use(t, "requests and approvals", 20*time.Millisecond, p.office(more(40, 400)))
	memory := p.server.watchMemory()
	people.warm(20)
	before := len(p.audited())
	for _, flood := range []struct {
		name string
		most int // answered otherwise than "too many"; 0: as they like
		ask  func(context.Context) int
	}{
		{"requests", 60, func(ctx context.Context) int {
			return k.asks(ctx, mallory.secret, http.MethodPost, "/v1/access/grants", request)
		}},
		{"emergencies", 60, func(ctx context.Context) int {
			return k.asks(ctx, mallory.secret, http.MethodPost, "/v1/access/grants", map[string]string{"target": "ot/plant-7/echo", "reason": because, "kind": "BreakGlass"})
		}},
		{"approvals of his own", 0, func(ctx context.Context) int {
			return k.asks(ctx, mallory.secret, http.MethodPost, "/v1/access/grants/"+waiting.ID+"/approve", map[string]string{})
		}},
		{"passes", 150, func(ctx context.Context) int {
			return k.asks(ctx, mallory.secret, http.MethodPost, "/v1/access/passes", map[string]string{"csr": string(csr)})
		}},
		{"why", 0, func(ctx context.Context) int {
			return k.asks(ctx, mallory.secret, http.MethodGet, "/v1/access/why?target=ot/plant-7/echo", nil)
		}},
		{"sessions", 0, func(ctx context.Context) int {
			return k.asks(ctx, mallory.secret, http.MethodGet, "/v1/access/sessions?refused=true", nil)
		}},
		{"wrong tokens", 60, func(ctx context.Context) int {
			return k.asks(ctx, mallory.secret+"x", http.MethodGet, "/v1/access/grants", nil)
		}},
		{"sign-ins", 150, func(ctx context.Context) int {
			return k.asks(ctx, "", http.MethodPost, "/v1/sign-in/challenges", map[string]string{"tenant": "ot", "provider": "corp"})
		}},
	} {
		long := time.Duration(more(700, 20_000)) * time.Millisecond
		came := pours(ctx, 16, long, flood.ask)
		others, all := 0, 0
		for status, n := range came {
			if status != http.StatusTooManyRequests {
				others += n
			}
			all += n
		}
		t.Logf("%s: %.0f a second: %v", flood.name, float64(all)/long.Seconds(), came)
		if came[0] > 0 || flood.most > 0 && (others > flood.most || came[http.StatusTooManyRequests] == 0) {
			t.Errorf("%s: %d of %d were answered otherwise than that they are too many, and %d may be: %v", flood.name, others, all, flood.most, came)
		}
		people.fine("beside "+flood.name, 5)
	}
	memory().within(t, 150)
	told := p.audited()
	own := said(told, "mallory of ot")
	t.Logf("%d records in the audit log, %d more than before, %d of them of who floods", len(told), len(told)-before, own)
	if own > 200 {
		t.Errorf("one person filled the audit log with %d records", own)
	}
	if n := len(p.server.lines("level=WARN")); n > 200 {
		t.Errorf("%d warnings:\n%s", n, p.server.tail())
	}
	pours(ctx, 4, 200*time.Millisecond, func(ctx context.Context) int {
		return k.asks(ctx, mallory.secret, http.MethodPost, "/v1/access/grants", request)
	})
	if out, err := mallory.isthmus("access", "request", "ot/plant-7/echo", "--reason", because); err == nil {
		t.Errorf("mallory may still ask: %s", out)
	} else if !bytes.Contains([]byte(out), []byte("too often")) || !bytes.Contains([]byte(out), []byte("ask again in")) {
		t.Errorf("mallory is told: %s", out)
	}
	bob.prints("access", "why", "ot/plant-7/echo", "--person", "mallory")
}

// Questions that wait for their answer cost little, however many wait.
func TestQuestionsThatWait(t *testing.T) {
	p := startShop(t)
	mallory := p.person("mallory", resource.RoleOperator)
	g, err := mallory.RequestAccess(t.Context(), client.GrantRequest{Target: "ot/plant-7/echo", Reason: because})
	must(t, err)
	people := use(t, "requests and approvals", 20*time.Millisecond, p.office(20))
	memory := p.server.watchMemory()
	people.warm(20)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	var asked atomic.Int64
	for range 20 { // connections
		k := p.knocker()
		k.asks(ctx, mallory.secret, http.MethodGet, "/v1/access/grants/"+g.ID, nil)
		for range more(50, 200) {
			all.Go(func() {
				asked.Add(1)
				k.asks(ctx, mallory.secret, http.MethodGet, "/v1/access/grants/"+g.ID+"?wait=50s", nil)
			})
		}
	}
	people.served(30)
	people.fine("while they wait", 5)
	// Each change of the grant wakes those who wait for it, and nobody else's.
	for range 5 {
		_, _ = mallory.DecideGrant(ctx, g.ID, "approve", "", 0)
	}
	people.served(20)
	people.fine("while they are woken", 5)
	cancel()
	all.Wait()
	memory().within(t, int64(more(200, 700)))
	t.Logf("%d waited", asked.Load())
}
