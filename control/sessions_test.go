package control

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/recording"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

func sessionID(n byte) string { return hex.EncodeToString(bytes.Repeat([]byte{n}, 16)) }

// opens is the record of a session that began.
func (s *site) opens(n byte, g GrantView) session.Record {
	return session.Record{
		Session: sessionID(n), Phase: session.Opened, At: s.clk.Now(), Grant: g.ID, Target: g.TargetUID,
		Person: string(identity.PersonID("isthmus.test", g.Person.Tenant, g.Person.ID, "pass")), From: "192.0.2.7:50123", To: "127.0.0.1:22",
	}
}

func ends(r session.Record, at time.Time, end session.End) session.Record {
	r.Phase, r.Opened, r.At, r.End, r.Sent, r.Received = session.Ended, r.At, at, end, 1200, 3400
	return r
}

func (s *site) note(id identity.ID, records ...session.Record) {
	s.t.Helper()
	if err := s.NoteSessions(ctx, id, records); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) sessions(p Principal, f SessionFilter) []SessionView {
	s.t.Helper()
	list, err := s.Sessions(ctx, p, f)
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

func TestWhatASessionLeaves(t *testing.T) {
	s := newSite(t)
	g := s.let(s.alice, pressSSH)
	o := s.opens(1, g)
	s.note(s.press, o)
	if v := s.sessions(s.alice, SessionFilter{Open: true}); len(v) != 1 || v[0].Person != "alice@example.net of ot" || v[0].Target != pressSSH || v[0].Reason != "spindle 2 trips" ||
		!slices.Equal(v[0].ApprovedBy, []string{"erin@example.net of ot"}) || v[0].Agent != string(s.press) || v[0].To != "127.0.0.1:22" || v[0].Phase != session.Opened {
		t.Errorf("%+v", v)
	}
	if o := s.get(s.alice, resource.KindTarget, pressSSH).(*resource.Target); o.Status.Sessions != 1 {
		t.Errorf("%d sessions at the target", o.Status.Sessions)
	}
	if v, err := s.Grant(ctx, s.alice, g.ID); err != nil || v.Sessions != 1 {
		t.Errorf("%d sessions of the grant, %v", v.Sessions, err)
	}
	s.clk.Advance(5 * time.Minute)
	e := ends(o, s.clk.Now(), session.EndClosed)
	e.Login, e.Commands, e.MoreFiles = "service", []string{"uptime"}, 2
	e.Files = []session.File{{Name: "../../etc/passwd\x1b]0;", Upload: true, Size: 12, SHA256: strings.Repeat("ab", 32)}}
	s.note(s.press, o, e, e, o) // what was told before does no harm
	v := s.sessions(s.alice, SessionFilter{})
	if len(v) != 1 || !v[0].Opened.Equal(o.At) || !v[0].Ended.Equal(e.At) || v[0].Sent != 1200 || v[0].Received != 3400 || v[0].End != session.EndClosed ||
		v[0].Login != "service" || len(v[0].Files) != 1 || v[0].MoreFiles != 2 || len(v[0].Commands) != 1 {
		t.Errorf("%+v", v)
	}
	want := []string{"session-open by alice@example.net of ot", "session-end by alice@example.net of ot"}
	if got := s.did("ot", kindSession); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	list, err := s.Audit(ctx, s.ute, AuditFilter{Kind: string(kindSession)})
	if err != nil || len(list) != 2 || list[1].Why != "spindle 2 trips" || list[1].Path != "ot/"+sessionID(1) {
		t.Fatalf("%+v, %v", list, err)
	}
	var p sessionPortrait
	if err := json.Unmarshal(list[1].After, &p); err != nil || p.Grant != g.ID || p.Sent != 1200 || p.Files[0].SHA256 == "" || p.From != "192.0.2.7:50123" || p.Agent != string(s.press) {
		t.Errorf("%+v, %v", p, err)
	}
	if err := s.VerifyAudit(ctx, admin); err != nil {
		t.Error(err)
	}
	if o := s.get(s.alice, resource.KindTarget, pressSSH).(*resource.Target); o.Status.Sessions != 0 {
		t.Errorf("%d sessions at the target", o.Status.Sessions)
	}
}

func TestWhoSeesWhichSessions(t *testing.T) {
	s := newSite(t)
	a, i := s.let(s.alice, pressSSH), s.let(s.ivy, pressSSH)
	refused := s.opens(3, a)
	refused.Phase, refused.End, refused.Words = session.Refused, session.Unreachable, "connection refused"
	s.note(s.press, s.opens(1, a), s.opens(2, i), refused)
	for who, want := range map[*Principal]int{&s.alice: 1, &s.bob: 2, &s.erin: 2, &s.ute: 2, &s.odin: 2, &s.ivy: 1, &s.xeno: 0, &otOps: 2, &itOps: 0, &admin: 2} {
		if got := s.sessions(*who, SessionFilter{}); len(got) != want {
			t.Errorf("%s sees %d sessions, want %d", who.Name, len(got), want)
		}
	}
	if v := s.sessions(s.ivy, SessionFilter{}); v[0].To != "" {
		t.Errorf("another tenant is told where the target leads: %+v", v[0])
	}
	if v := s.sessions(s.alice, SessionFilter{Refused: true}); len(v) != 2 {
		t.Errorf("%+v", v)
	}
	for name, c := range map[string]struct {
		f    SessionFilter
		want int
	}{"grant": {SessionFilter{Grant: a.ID}, 1}, "person": {SessionFilter{Person: "ivy@example.com"}, 1}, "target": {SessionFilter{Target: pressPLC}, 0}, "tenant": {SessionFilter{Tenant: "it"}, 0}} {
		if got := s.sessions(s.ute, c.f); len(got) != c.want {
			t.Errorf("%s: %d sessions, want %d", name, len(got), c.want)
		}
	}
	// Both tenants can read it; who is let in by nobody else.
	if got := s.did("it", kindSession); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

func TestOnlyWhoLeadsThereTellsOfSessions(t *testing.T) {
	s := newSite(t)
	drill, foreign := s.join(JoinAgent, "ot/plant-7/drill-9"), s.join(JoinAgent, "it/it-cloud/gw")
	g := s.let(s.alice, pressSSH)
	for _, id := range []identity.ID{drill, foreign} {
		want(t, s.NoteSessions(ctx, id, []session.Record{s.opens(1, g)}), fault.Denied, "does not lead to the target")
	}
	s.note(s.press, s.opens(1, g))
	want_(t, s.NoteSessions(ctx, drill, []session.Record{ends(s.opens(1, g), s.clk.Now(), session.EndClosed)}), fault.Denied, "is another process's")
	bad := s.opens(2, g)
	bad.Session = "../../x"
	want_(t, s.NoteSessions(ctx, s.press, []session.Record{s.opens(3, g), bad}), fault.Invalid, "session cannot be right")
	if v := s.sessions(s.ute, SessionFilter{}); len(v) != 1 {
		t.Errorf("a part of what was refused was kept: %+v", v)
	}
	want(t, s.NoteSessions(ctx, s.press, make([]session.Record, maxRecords+1)), fault.TooLarge, "records came at once")
	want(t, s.NoteSessions(ctx, "spiffe://isthmus.test/tenant/ot/network/plant-7/agent/nobody", nil), fault.Unauthenticated, "never joined")
	// A process that led there until lately still tells how it ended there, and what was refused.
	s.apply(otOps, target(pressSSH, "drill-9", "127.0.0.1:22", overSSH, func(s *resource.TargetSpec) { s.VisibleTo = []string{"it"} }))
	late := s.opens(4, g)
	late.Phase, late.End = session.Refused, session.NotNow
	s.note(s.press, ends(s.opens(1, g), s.clk.Now(), session.EndRevoked), late)
	s.note(drill, s.opens(5, g))
	if err := s.Delete(ctx, otOps, key(t, resource.KindTarget, pressSSH), ""); err != nil {
		t.Fatal(err)
	}
	s.note(drill, ends(s.opens(5, g), s.clk.Now(), session.EndRevoked))
	if v := s.sessions(s.ute, SessionFilter{Open: true}); len(v) != 0 {
		t.Errorf("%+v", v)
	}
}

func TestWhoseRefusalItWas(t *testing.T) {
	s := newSite(t)
	g := s.let(s.alice, pressSSH)
	r := s.opens(1, g)
	r.Phase, r.End, r.Person = session.Refused, session.NotYours, string(identity.PersonID("isthmus.test", "xx", s.xeno.Person, "pass"))
	nobody := session.Record{Session: sessionID(2), Phase: session.Refused, At: s.clk.Now(), Grant: "made-up\x00", End: session.NoGrant, Person: r.Person}
	stream := session.Record{Session: sessionID(3), Phase: session.Opened, At: s.clk.Now(), Words: "policy service"}
	s.note(s.press, r, nobody, stream)
	v := s.sessions(s.ute, SessionFilter{Refused: true})
	if len(v) != 3 {
		t.Fatalf("%+v", v)
	}
	for _, x := range v {
		if x.ID != sessionID(3) && x.Person != "xeno@example.org of xx" || x.Tenant != "ot" {
			t.Errorf("%+v", x)
		}
	}
	// What a process says of others is not written into a chain that it has nothing to do with.
	if got := s.did("xx", kindSession); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if v := s.sessions(s.alice, SessionFilter{Refused: true}); len(v) != 0 {
		t.Errorf("what another tried with her grant is hers: %+v", v)
	}
	var records []session.Record
	for i := range maxRecords {
		n := r
		n.Session = hex.EncodeToString([]byte(strings.Repeat(string(rune('a'+i%26)), 12) + string([]byte{byte(i >> 8), byte(i), 1, 2})))
		records = append(records, n)
	}
	s.note(s.press, records...)
	if got := len(s.did("ot", kindSession)); got > refusedBurst+3 {
		t.Errorf("%d refusals were recorded", got)
	}
}

func TestSessionsOfProcessesThatAreGone(t *testing.T) {
	s := newSite(t)
	g := s.let(s.alice, pressSSH)
	s.note(s.press, s.opens(1, g))
	if err := s.loseSessions(ctx); err != nil || len(s.sessions(s.ute, SessionFilter{Open: true})) != 1 {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, otOps, key(t, resource.KindAgent, "ot/plant-7/press-4"), ""); err != nil {
		t.Fatal(err)
	}
	if err := s.loseSessions(ctx); err != nil {
		t.Fatal(err)
	}
	v := s.sessions(s.ute, SessionFilter{})
	if len(v) != 1 || v[0].End != session.EndLost || v[0].Ended.IsZero() || v[0].Phase != session.Ended {
		t.Errorf("%+v", v)
	}
	if got := s.did("ot", kindSession); !slices.Equal(got, []string{"session-open by alice@example.net of ot", "session-end by alice@example.net of ot"}) {
		t.Errorf("%v", got)
	}
	s.clk.Advance(2 * keptFor)
	if err := s.forget(ctx); err != nil || len(s.sessions(s.ute, SessionFilter{})) != 0 {
		t.Errorf("%v", err)
	}
}

// recordedFor makes a recording for keys.
func recordedFor(t testing.TB, s *site, recipients ...string) []byte {
	t.Helper()
	var out memory
	w, err := recording.NewWriter(&out, recipients, recording.Header{Width: 80, Height: 24}, s.clk)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Output([]byte("hello from the press\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

type memory struct{ bytes.Buffer }

func (*memory) Close() error { return nil }

func sumOf(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func TestRecordings(t *testing.T) {
	s := newSite(t)
	dir := filepath.Join(t.TempDir(), "recordings")
	g := s.let(s.alice, pressSSH)
	o := s.opens(1, g)
	content := recordedFor(t, s, s.world.publics["ot"][store.KeyRecordings])
	put := func(id identity.ID, n byte, b []byte, size int64, sum string) error {
		return s.PutRecording(ctx, id, sessionID(n), bytes.NewReader(b), size, sum)
	}
	size := int64(len(content))
	want(t, put(s.press, 1, content, size, sumOf(content)), fault.Unavailable, "keeps no recordings")
	s.cfg.Recordings = dir
	want(t, put(s.press, 1, content, size, sumOf(content)), fault.NotFound, "told of no session")
	s.note(s.press, o, ends(o, s.clk.Now(), session.EndClosed))
	drill := s.join(JoinAgent, "ot/plant-7/drill-9")
	want(t, put(drill, 1, content, size, sumOf(content)), fault.NotFound, "told of no session")
	want(t, put(s.press, 1, content, size-1, sumOf(content)), fault.Invalid, "not what was announced")
	want(t, put(s.press, 1, content[:10], size, sumOf(content)), fault.Invalid, "not what was announced")
	want(t, put(s.press, 1, content, size, sumOf([]byte("other"))), fault.Invalid, "not what was announced")
	want_(t, put(s.press, 1, content, size, "00"), fault.Invalid, "hash cannot be right")
	want(t, put(s.press, 1, content, s.cfg.MaxRecording+1, sumOf(content)), fault.TooLarge, "bytes")
	want_(t, s.PutRecording(ctx, s.press, "../../../../../../tmp/xxxxxxxxxxxx", bytes.NewReader(content), size, sumOf(content)), fault.Invalid, "id")
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("what was refused left %v, %v", files, err)
	}
	for range 2 { // again does no harm
		if err := put(s.press, 1, content, size, sumOf(content)); err != nil {
			t.Fatal(err)
		}
	}
	other := append(slices.Clone(content), 'x')
	want_(t, put(s.press, 1, other, size+1, sumOf(other)), fault.Conflict, "another recording")
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != sessionID(1)+wholeEnding {
		t.Fatalf("%v, %v", files, err)
	}
	if i, err := files[0].Info(); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", i.Mode(), err)
	}
	s.cfg.MaxRecordings = size
	s.note(s.press, s.opens(2, g))
	want(t, put(s.press, 2, content, size, sumOf(content)), fault.Exhausted, "bytes already")

	for _, p := range []Principal{s.alice, s.bob, s.erin} {
		_, err := s.Recording(ctx, p, sessionID(1))
		want(t, err, fault.Denied, "may not open recordings")
	}
	for _, p := range []Principal{s.ivy, s.xeno} {
		_, err := s.Recording(ctx, p, sessionID(1))
		want(t, err, fault.NotFound, "there is no recording")
	}
	_, err = s.Recording(ctx, s.ute, "../x")
	want(t, err, fault.NotFound, "there is no recording")
	for _, p := range []Principal{s.ute, s.odin, admin} {
		r, err := s.Recording(ctx, p, sessionID(1))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil || r.Sealed || !bytes.Contains(b, []byte("hello from the press")) || r.Close() != nil {
			t.Errorf("%s, %v", b, err)
		}
	}
	if got := s.did("ot", kindSession); !slices.Equal(got[2:], []string{
		"recording by " + string(s.press), "session-open by alice@example.net of ot", "replay by ute@example.net of ot", "replay by odin@example.net of ot", "replay by root of the deployment",
	}) {
		t.Errorf("%v", got)
	}
	if v := s.sessions(s.ute, SessionFilter{Grant: g.ID}); !v[1].Recording || v[0].Recording {
		t.Errorf("%+v", v)
	}
	if v := s.sessions(s.alice, SessionFilter{}); v[1].Recording {
		t.Errorf("who may not replay it is told that there is a recording: %+v", v)
	}
	s.clk.Advance(keptFor + time.Hour)
	if err := s.forgetRecordings(ctx); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("%v, %v", files, err)
	}
	_, err = s.Recording(ctx, s.ute, sessionID(1))
	want(t, err, fault.NotFound, "there is no recording")
}

func TestRecordingsThatOthersOpen(t *testing.T) {
	s := newSite(t)
	s.cfg.Recordings = t.TempDir()
	public, private, err := recording.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	g := s.let(s.alice, pressSSH)
	s.note(s.press, s.opens(1, g))
	content := recordedFor(t, s, public)
	if err := s.PutRecording(ctx, s.press, sessionID(1), bytes.NewReader(content), int64(len(content)), sumOf(content)); err != nil {
		t.Fatal(err)
	}
	r, err := s.Recording(ctx, s.ute, sessionID(1))
	if err != nil || !r.Sealed || r.Size != int64(len(content)) {
		t.Fatalf("%+v, %v", r, err)
	}
	defer r.Close()
	open, err := recording.Open(r, private)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(open); err != nil || !bytes.Contains(b, []byte("hello from the press")) {
		t.Errorf("%s, %v", b, err)
	}
	// A recording that somebody changed on the disk is none.
	path := filepath.Join(s.cfg.Recordings, sessionID(1)+wholeEnding)
	if err := os.WriteFile(path, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = s.Recording(ctx, s.ute, sessionID(1))
	want_(t, err, fault.Invalid, "not a recording")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err = s.Recording(ctx, s.ute, sessionID(1))
	want(t, err, fault.NotFound, "is not on this server's disk")
}
