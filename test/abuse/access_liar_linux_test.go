package abuse

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sessions "github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/resource"
)

// liar is a process with a member's certificate and words of its own.
type liar struct {
	p    *shop
	http *http.Client
}

// liar speaks for a member of the deployment.
func (p *shop) liar(member string) *liar {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.Data(member), "identity.json"))
	must(p.t, err)
	var kept struct{ Key, Certificate, Roots string }
	must(p.t, json.Unmarshal(b, &kept))
	pair, err := tls.X509KeyPair([]byte(kept.Certificate), []byte(kept.Key))
	must(p.t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.roots)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}, DisableKeepAlives: true}
	return &liar{p, &http.Client{Transport: tr, Timeout: patient}}
}

func (l *liar) sends(method, path string, body io.Reader, size int64, header http.Header) (status int, words string) {
	l.p.t.Helper()
	q, err := http.NewRequestWithContext(l.p.t.Context(), method, "https://"+l.p.address+path, body)
	must(l.p.t, err)
	if size >= 0 {
		q.ContentLength = size
	}
	for k, v := range header {
		q.Header[k] = v
	}
	resp, err := l.http.Do(q)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	must(l.p.t, err)
	return resp.StatusCode, string(b)
}

func (l *liar) tells(records ...sessions.Record) (status int, words string) {
	l.p.t.Helper()
	b, err := json.Marshal(map[string]any{"records": records})
	must(l.p.t, err)
	return l.sends(http.MethodPost, "/member/v1/access/sessions", bytes.NewReader(b), int64(len(b)), http.Header{"Content-Type": {"application/json"}})
}

// uploads sends a recording, and says that it has a size and a hash.
func (l *liar) uploads(session string, content []byte, size int64, sum [32]byte) (status int, words string) {
	l.p.t.Helper()
	return l.sends(http.MethodPut, "/member/v1/access/recordings/"+session, bytes.NewReader(content), size, http.Header{
		"Content-Type": {"application/octet-stream"}, "Content-Digest": {"sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"},
	})
}

func sessionID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// A member that lies is believed about what it leads to, and about nothing else; what it can fill is bounded.
func TestAgentsThatLie(t *testing.T) {
	p := startShop(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patient)
	defer cancel()
	alice, bob := p.person("alice", resource.RoleOperator), p.person("bob", resource.RoleApprover, resource.RoleAuditor).login()
	g := alice.letIn(bob, client.GrantRequest{})
	alice.arrives(g)
	honest := bob.session("a true session", client.SessionFilter{}, func(s client.Session) bool { return s.Phase == sessions.Ended })
	elsewhere := alice.letIn(bob, client.GrantRequest{Target: "ot/plant-7/elsewhere"})
	press, cloud := p.liar("press-4"), p.liar("cloud")
	now := time.Now().UTC()
	record := func(change func(r *sessions.Record)) sessions.Record {
		r := sessions.Record{Session: sessionID(), Phase: sessions.Opened, At: now, Grant: g.ID, To: "127.0.0.1:1"}
		change(&r)
		return r
	}
	count := func() int {
		list, err := bob.Sessions(ctx, client.SessionFilter{Refused: true, Limit: 1000})
		must(t, err)
		return len(list)
	}
	before, logged := count(), len(p.audited())
	good := record(func(*sessions.Record) {})
	for name, c := range map[string]struct {
		who    *liar
		r      sessions.Record
		status int
	}{
		"of a grant for another's target": {press, record(func(r *sessions.Record) { r.Grant = elsewhere.ID }), http.StatusForbidden},
		"of another's target":             {press, record(func(r *sessions.Record) { r.Grant, r.Target = "", elsewhere.TargetUID }), http.StatusForbidden},
		"of no target there is":           {press, record(func(r *sessions.Record) { r.Grant, r.Target = "", "../../../etc/passwd" }), http.StatusForbidden},
		"by another process":              {cloud, record(func(*sessions.Record) {}), http.StatusForbidden},
		"about another's session": {cloud, record(func(r *sessions.Record) {
			r.Session, r.Grant, r.Phase, r.End = honest.ID, "", sessions.Ended, sessions.EndClosed
		}), http.StatusForbidden},
		"with a path for an id":    {press, record(func(r *sessions.Record) { r.Session = "../../../../../etc/passwd/../../" }), http.StatusBadRequest},
		"with an escape for an id": {press, record(func(r *sessions.Record) { r.Session = "\x1b]0;owned\x07" + strings.Repeat("0", 22) }), http.StatusBadRequest},
		"of no phase":              {press, record(func(r *sessions.Record) { r.Phase = "\x1b[2J" }), http.StatusBadRequest},
		"with 1 MB of words":       {press, record(func(r *sessions.Record) { r.Words = strings.Repeat("w", 1<<20) }), http.StatusBadRequest},
		"with files without end":   {press, record(func(r *sessions.Record) { r.Files = make([]sessions.File, 100_000) }), http.StatusBadRequest},
		"with a hash that is none": {press, record(func(r *sessions.Record) { r.Files = []sessions.File{{Name: "x", SHA256: "../"}} }), http.StatusBadRequest},
	} {
		// One lie spoils what comes with it, so that no half of a batch is kept.
		status, words := c.who.tells(good, c.r)
		if status != c.status || len(words) > 8<<10 || !strings.Contains(words, `"detail"`) {
			t.Errorf("%s: %d %s, wanted %d", name, status, words, c.status)
		}
		tame(t, "the answer to a record "+name, words)
	}
	if n := count(); n != before {
		t.Errorf("%d sessions are known after lies, %d before", n, before)
	}
	if n := len(p.audited()); n > logged+20 {
		t.Errorf("%d records were written for lies", n-logged)
	}

	t.Run("recordings", func(t *testing.T) {
		content := []byte("isthmus-recording 1\nand what is none")
		sum := sha256.Sum256(content)
		size := int64(len(content))
		for name, c := range map[string]struct {
			who     *liar
			session string
			size    int64
			sum     [32]byte
		}{
			"of another's session":  {cloud, honest.ID, size, sum},
			"of no session":         {press, sessionID(), size, sum},
			"that is another":       {press, honest.ID, size, sha256.Sum256(nil)},
			"of 2 GiB":              {press, honest.ID, 2<<30 + 1, sum},
			"cut off":               {press, honest.ID, size + 100, sum},
			"above the folder":      {press, "..%2f..%2f..%2fpwned", size, sum},
			"above the folder too":  {press, "%2e%2e%2f" + honest.ID, size, sum},
			"with a long name":      {press, strings.Repeat("0", 4096), size, sum},
			"with an escape":        {press, "%1b%5d0%3bowned%07", size, sum},
			"with the end of words": {press, honest.ID + "%00.cast", size, sum},
		} {
			status, words := c.who.uploads(c.session, content, c.size, c.sum)
			if status >= 200 && status < 300 || status >= 500 {
				t.Errorf("a recording %s: %d %s", name, status, words)
			}
		}
		files, err := os.ReadDir(filepath.Join(p.Dir, "server", "recordings"))
		if err == nil && len(files) > 0 {
			t.Errorf("recordings of liars are kept: %v", files)
		}
		if found, _ := filepath.Glob(filepath.Join(p.Dir, "*pwned*")); len(found) > 0 {
			t.Errorf("%v", found)
		}
		// The first is kept as its hash says, and stays.
		if status, words := press.uploads(honest.ID, content, size, sum); status != http.StatusNoContent {
			t.Fatalf("%d %s", status, words)
		}
		other := []byte("isthmus-recording 1\nand something else")
		if status, _ := press.uploads(honest.ID, other, int64(len(other)), sha256.Sum256(other)); status != http.StatusConflict {
			t.Errorf("another recording of the same session: %d", status)
		}
		if status, _ := press.uploads(honest.ID, content, size, sum); status != http.StatusNoContent {
			t.Errorf("the same once more: %d", status)
		}
		if out, err := bob.isthmus("access", "replay", honest.ID); err == nil {
			t.Errorf("what is no recording is played: %q", out)
		} else {
			tame(t, "what is said of it", out)
		}
	})

	t.Run("words", func(t *testing.T) {
		r := record(func(r *sessions.Record) {
			r.Phase, r.End, r.Words, r.From, r.To, r.Login = sessions.Refused, sessions.NotYours, strings.Join(hostile[:8], ""), "\x1b[2J", "\x1b]0;owned\x07", "\x1b[31mroot"
			r.Commands, r.Files = []string{"\x1b]52;c;b3duZWQ=\x07"}, []sessions.File{{Name: "\x1b[2J"}}
		})
		if status, words := press.tells(r); status >= 300 {
			t.Logf("a record with hostile words is refused: %d %s", status, words)
		}
		for _, args := range [][]string{
			{"access", "sessions", "--refused", "-o", "wide"}, {"access", "sessions", "--refused", "-o", "yaml"}, {"access", "why", "ot/plant-7/echo", "--person", "alice"}, {"audit", "list", "--all"},
		} {
			bob.prints(args...)
		}
	})

	t.Run("floods", func(t *testing.T) {
		people := use(t, "requests and approvals", 20*time.Millisecond, p.office(20))
		memory := p.server.watchMemory()
		people.warm(10)
		records := func(n int, change func(r *sessions.Record)) (list []sessions.Record) {
			for range n {
				list = append(list, record(change))
			}
			return list
		}
		came := map[int]int{}
		for range 20 {
			status, _ := press.tells(records(100, func(r *sessions.Record) {
				r.Phase, r.End, r.Person = sessions.Refused, sessions.NoGrant, "spiffe://x/y"
			})...)
			came[status]++
		}
		t.Logf("refusals: %v", came)
		if n := p.refusals(bob, sessions.NoGrant); n > 300 {
			t.Errorf("%d refusals were kept", n)
		}
		big := make([]sessions.File, sessions.MaxFiles)
		for i := range big {
			big[i] = sessions.File{Name: strings.Repeat("n", sessions.MaxText), SHA256: strings.Repeat("0", 64)}
		}
		came = map[int]int{}
		for range 12 {
			status, _ := press.tells(records(30, func(r *sessions.Record) { r.Phase, r.End, r.Files = sessions.Ended, sessions.EndClosed, big })...)
			came[status]++
		}
		t.Logf("records of 200 kB: %v", came)
		if came[http.StatusTooManyRequests]+came[http.StatusServiceUnavailable] == 0 {
			t.Errorf("72 MB of records were taken: %v", came)
		}
		people.served(10)
		people.fine("beside floods of records", 5)
		memory().within(t, 250)
	})
	if n := len(p.server.lines("level=WARN")); n > 100 {
		t.Errorf("%d warnings:\n%s", n, p.server.tail())
	}
	tame(t, "the server's log", p.server.Log())
	p.audited()
	must(t, goesIn(ctx, alice.visits(), g.ID)) // who tells the truth is still let in, and told of
}
