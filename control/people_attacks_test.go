package control

import (
	"bytes"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/access/sshca"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

func TestWhoLooksAfterTargetsDoesNotLetHimselfIn(t *testing.T) {
	s := newSite(t)
	ned := s.human("ot", "ned@example.net", networkAdmin)
	s.apply(otOps, policy("ot/lax", func(p *resource.AccessPolicySpec) { p.Approvals = new(int) }))
	lax := func(s *resource.TargetSpec) { s.Policy = "lax" }
	visible := func(s *resource.TargetSpec) { s.VisibleTo = []string{"it"} }
	apply := func(p Principal, o resource.Object) error {
		_, err := s.Apply(ctx, p, []resource.Object{o}, ApplyOptions{})
		return err
	}
	program := Principal{Name: "pipeline", Tenant: "ot", Role: RoleNetworkAdmin}
	for _, p := range []Principal{ned, program} {
		want(t, apply(p, target(pressSSH, "press-4", "127.0.0.1:22", overSSH, visible, lax)), fault.Denied, "for owners of the tenant")
		want(t, apply(p, target("ot/plant-7/mine", "press-4", "127.0.0.1:22", lax)), fault.Denied, "for owners of the tenant")
	}
	s.apply(otOps, target(pressSSH, "press-4", "127.0.0.1:22", overSSH, visible, lax))
	// What an owner chose may stay, and its description be corrected.
	s.apply(ned, target(pressSSH, "press-4", "127.0.0.1:22", overSSH, visible, lax, func(s *resource.TargetSpec) { s.Description = "press 4" }))
	want(t, apply(ned, target(pressSSH, "press-4", "127.0.0.1:22", overSSH, visible)), fault.Denied, "for owners of the tenant")

	// What was approved for one address is not good for another.
	for name, other := range map[string]resource.Object{
		"another address":  target(pressPLC, "press-4", "10.0.0.1:3389"),
		"another agent":    target(pressPLC, "drill-9", "192.168.0.10:502"),
		"another protocol": target(pressPLC, "press-4", "192.168.0.10:502", overSSH),
	} {
		s.apply(otOps, target(pressPLC, "press-4", "192.168.0.10:502"))
		g := s.let(s.alice, pressPLC)
		s.apply(ned, other)
		if v, err := s.Grant(ctx, s.alice, g.ID); err != nil || v.State != grant.Revoked || !strings.Contains(v.EndReason, "leads somewhere else") {
			t.Errorf("%s: %+v, %v", name, v.Grant, err)
		}
	}
	g := s.let(s.alice, pressPLC)
	s.apply(otOps, target(pressPLC, "press-4", "192.168.0.11:502")) // an owner may approve, so he may do this
	if v, err := s.Grant(ctx, s.alice, g.ID); err != nil || v.State != grant.Approved {
		t.Errorf("an owner's change: %+v, %v", v.Grant, err)
	}
}

func TestWhatSomebodyApprovedGoesWithHisRole(t *testing.T) {
	two := 2
	for name, end := range map[string]func(s *site, uid string) error{
		"disabled": func(s *site, uid string) error {
			_, err := s.DisablePerson(ctx, s.odin, uid, "stolen laptop")
			return err
		},
		"removed": func(s *site, uid string) error { return s.RemovePerson(ctx, s.odin, uid, "gone") },
		"demoted": func(s *site, uid string) error {
			_, err := s.SetRoles(ctx, s.odin, uid, roles{auditor}, "another job")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(p *resource.AccessPolicySpec) { p.Approvals = &two })
			waits, done := s.ask(s.alice, pressSSH), s.ask(s.alice, pressPLC)
			s.decide(s.bob, waits.ID, ApproveGrant)
			s.decide(s.bob, done.ID, ApproveGrant)
			s.decide(s.erin, done.ID, ApproveGrant)
			if err := end(s, s.bob.Person); err != nil {
				t.Fatal(err)
			}
			if g := s.decide(s.erin, waits.ID, ApproveGrant); g.State != grant.Requested || len(g.Approvals) != 1 {
				t.Errorf("one approval of two is enough: %+v", g.Grant)
			}
			if g, err := s.Grant(ctx, s.alice, done.ID); err != nil || g.State != grant.Approved {
				t.Errorf("what was in force: %+v, %v", g.Grant, err)
			}
			if got := s.did("ot", kindGrant); !slices.Contains(got, "unapprove by odin@example.net of ot") {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestCertificatesLeadNoFurtherThanTheirGrant(t *testing.T) {
	s := newSite(t, func(p *resource.AccessPolicySpec) { p.Standing = true })
	g := s.let(s.alice, pressSSH)
	req := SSHCertificateRequest{Grant: g.ID, PublicKey: somebodysKey(t), Login: "service"}
	agents := SessionCertificateRequest{Grant: g.ID, Session: strings.Repeat("ab", 16), PublicKey: req.PublicKey, Login: "service"}
	_, err := s.CertifySession(ctx, s.press, agents)
	want(t, err, fault.Denied, "are not recorded")
	s.apply(otOps, policy("ot/default", func(p *resource.AccessPolicySpec) { p.Standing, p.Recording = true, resource.RecordingRequired }))
	persons, err := s.SSHCertificate(ctx, s.alice, req)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := readCertificate(t, persons.Certificate).CriticalOptions[sshca.RecordedOnly]; !ok {
		t.Error("the person's certificate is good past the recording")
	}
	theirs, err := s.CertifySession(ctx, s.press, agents)
	if err != nil || len(readCertificate(t, theirs.Certificate).CriticalOptions) != 0 {
		t.Errorf("%+v, %v", theirs, err)
	}
	// A grant of months makes no certificate of months, which nobody could take back.
	standing := s.ask(s.alice, pressSSH, func(r *GrantRequest) { r.Kind, r.For = grant.Standing, 0 })
	s.decide(s.erin, standing.ID, ApproveGrant)
	req.Grant = standing.ID
	c, err := s.SSHCertificate(ctx, s.alice, req)
	if err != nil || !c.Expires.Equal(s.clk.Now().Add(24*time.Hour).Truncate(time.Second)) {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestNobodyImitatesAnothersKeyID(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"bob of ot grant x", "bob\nof ot", "bob of ot", "bob/ot", "BOB\u0430", "bob\u202e", "-bob", ""} {
		_, err := s.CreatePerson(ctx, s.odin, PersonRequest{Tenant: "ot", Name: name})
		want_(t, err, fault.Invalid, "is no name for a person")
	}
}

func TestAMemberWritesIntoNobodysChain(t *testing.T) {
	s := newSite(t)
	g := s.let(s.alice, pressSSH) // visible to it, whose ivy has no grant
	forged := s.opens(1, g)
	forged.Person = string(identity.PersonID("isthmus.test", "it", s.ivy.Person, "pass"))
	want(t, s.NoteSessions(ctx, s.press, []session.Record{forged}), fault.Denied, "does not let in")
	forged.Phase, forged.End = session.Ended, session.EndClosed
	want(t, s.NoteSessions(ctx, s.press, []session.Record{forged}), fault.Denied, "does not let in")
	forged.Phase, forged.End = session.Refused, session.NotYours
	s.note(s.press, forged)
	if got := s.did("it", kindSession); len(got) != 0 {
		t.Errorf("%v", got)
	}
	i := s.let(s.ivy, pressSSH)
	s.note(s.press, s.opens(2, i))
	if got := s.did("it", kindSession); !slices.Equal(got, []string{"session-open by ivy@example.com of it"}) {
		t.Errorf("%v", got)
	}
}

func TestWhoTriesAnothersGrantLearnsNothingOfIt(t *testing.T) {
	s := newSite(t)
	r := s.opens(1, s.let(s.alice, pressSSH))
	r.Phase, r.End, r.Person = session.Refused, session.NotYours, string(identity.PersonID("isthmus.test", "xx", s.xeno.Person, "pass"))
	s.note(s.press, r)
	if v := s.sessions(s.xeno, SessionFilter{Refused: true}); len(v) != 1 || v[0].Target != "" || v[0].Reason != "" || len(v[0].ApprovedBy) != 0 || v[0].To != "" {
		t.Errorf("%+v", v)
	}
	if v := s.sessions(s.ute, SessionFilter{Refused: true}); len(v) != 1 || v[0].Target != pressSSH || v[0].Person != "xeno@example.org of xx" {
		t.Errorf("%+v", v)
	}
}

func TestEmergenciesAreBounded(t *testing.T) {
	s := newSite(t, func(p *resource.AccessPolicySpec) { p.BreakGlass, p.BreakGlassMinutes = true, 600 })
	var err error
	n := 0
	for ; err == nil && n <= 2*maxOpen; n++ {
		_, err = s.RequestGrant(ctx, s.alice, GrantRequest{Target: pressSSH, Kind: grant.BreakGlass, Reason: "the hall is on fire"})
		s.clk.Advance(requestEvery)
	}
	if n != 2*maxOpen+1 {
		t.Errorf("%d emergencies", n)
	}
	want(t, err, fault.Exhausted, "has 400 grants already")
}

func TestAMemberDoesNotFillTheLog(t *testing.T) {
	s := newSite(t)
	g := s.let(s.alice, pressSSH)
	for range toldBurst - 1 {
		s.told.Take(string(s.press))
	}
	s.note(s.press, s.opens(1, g))
	records := []session.Record{s.opens(2, g)}
	err := s.NoteSessions(ctx, s.press, records)
	want(t, err, fault.Exhausted, "tells of more sessions than one process may")
	s.clk.Advance(2 * toldEvery)
	s.note(s.press, records...)
	large := s.opens(3, g)
	large.Phase, large.Commands = session.Ended, slices.Repeat([]string{strings.Repeat("x", session.MaxText)}, session.MaxCommands)
	want(t, s.NoteSessions(ctx, s.press, []session.Record{large}), fault.Exhausted, "tells of more")

	for range certifiedBurst - 1 {
		s.certified.Take(string(s.press))
	}
	if _, err = s.HostCertificate(ctx, s.press, somebodysKey(t)); err != nil {
		t.Fatal(err)
	}
	_, err = s.HostCertificate(ctx, s.press, somebodysKey(t))
	want(t, err, fault.Exhausted, "certified too often")
}

// gatedReader gives its content when it is let.
type gatedReader struct {
	begun, let chan struct{}
	io.Reader
}

func (g *gatedReader) Read(b []byte) (int, error) {
	if g.begun != nil {
		close(g.begun)
		g.begun = nil
	}
	<-g.let
	return g.Reader.Read(b)
}

func TestARecordingThatIsKeptStays(t *testing.T) {
	s := newSite(t)
	s.cfg.Recordings = t.TempDir()
	g := s.let(s.alice, pressSSH)
	s.note(s.press, s.opens(1, g), s.opens(2, g))
	content := recordedFor(t, s, s.world.publics["ot"][store.KeyRecordings])
	other := recordedFor(t, s, s.world.publics["ot"][store.KeyRecordings])
	late := &gatedReader{make(chan struct{}), make(chan struct{}), bytes.NewReader(other)}
	begun, done := late.begun, make(chan error)
	go func() { done <- s.PutRecording(ctx, s.press, sessionID(1), late, int64(len(other)), sumOf(other)) }()
	<-begun
	if err := s.PutRecording(ctx, s.press, sessionID(1), bytes.NewReader(content), int64(len(content)), sumOf(content)); err != nil {
		t.Fatal(err)
	}
	close(late.let)
	want_(t, <-done, fault.Conflict, "another recording")
	if b, err := os.ReadFile(filepath.Join(s.cfg.Recordings, sessionID(1)+wholeEnding)); err != nil || !bytes.Equal(b, content) {
		t.Errorf("it was replaced by what came later, %v", err)
	}
	if files, err := os.ReadDir(s.cfg.Recordings); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
}

func TestOneProcessDoesNotKeepAllRoomForRecordings(t *testing.T) {
	s := newSite(t)
	s.cfg.Recordings = t.TempDir()
	g := s.let(s.alice, pressSSH)
	var waiting []*gatedReader
	done := make(chan error)
	for i := range sentAtOnceBy + 1 {
		s.note(s.press, s.opens(byte(i), g))
	}
	for i := range sentAtOnceBy {
		r := &gatedReader{make(chan struct{}), make(chan struct{}), strings.NewReader("x")}
		waiting = append(waiting, r)
		begun := r.begun
		go func() {
			done <- s.PutRecording(ctx, s.press, sessionID(byte(i)), r, s.cfg.MaxRecording, sumOf([]byte("x")))
		}()
		<-begun
	}
	err := s.PutRecording(ctx, s.press, sessionID(sentAtOnceBy), strings.NewReader("x"), 1, sumOf([]byte("x")))
	want(t, err, fault.Exhausted, "already")
	for _, r := range waiting {
		close(r.let)
		want(t, <-done, fault.Invalid, "not what was announced")
	}
	if err := s.PutRecording(ctx, s.press, sessionID(sentAtOnceBy), strings.NewReader("x"), 1, sumOf([]byte("x"))); err != nil {
		t.Error(err)
	}
}

func TestReadersDoNotOpenRecordings(t *testing.T) {
	s := newSite(t)
	s.cfg.Recordings = t.TempDir()
	g := s.let(s.alice, pressSSH)
	s.note(s.press, s.opens(1, g))
	content := recordedFor(t, s, s.world.publics["ot"][store.KeyRecordings])
	if err := s.PutRecording(ctx, s.press, sessionID(1), bytes.NewReader(content), int64(len(content)), sumOf(content)); err != nil {
		t.Fatal(err)
	}
	for _, p := range []Principal{{Name: "dashboard", Tenant: "ot", Role: RoleReader}, {Name: "all", Role: RoleReader}} {
		_, err := s.Recording(ctx, p, sessionID(1))
		want(t, err, fault.Denied, "may not open recordings")
		if v := s.sessions(p, SessionFilter{}); len(v) != 1 || v[0].Recording {
			t.Errorf("%+v", v)
		}
	}
	for _, p := range []Principal{{Name: "archive", Tenant: "ot", Role: RoleAuditor}, otOps} {
		r, err := s.Recording(ctx, p, sessionID(1))
		if err != nil || r.Close() != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
}

func TestWhyTellsNothingOfOtherTenantsPeople(t *testing.T) {
	s := newSite(t)
	for _, p := range []Principal{s.erin, s.odin, otOps} {
		_, err := s.ExplainAccess(ctx, p, AccessQuestion{Target: pressSSH, Person: "it/ivy@example.com"})
		want(t, err, fault.NotFound, `there is no person "ivy@example.com" in it`)
		_, none := s.ExplainAccess(ctx, p, AccessQuestion{Target: pressSSH, Person: "it/nobody@example.com"})
		if want(t, none, fault.NotFound, "there is no person"); fault.Message(none) != strings.Replace(fault.Message(err), "ivy", "nobody", 1) {
			t.Errorf("%q and %q", fault.Message(err), fault.Message(none))
		}
	}
	s.ask(s.ivy, pressSSH)
	if _, err := s.ExplainAccess(ctx, s.erin, AccessQuestion{Target: pressSSH, Person: "it/ivy@example.com"}); err != nil {
		t.Errorf("of who asked: %v", err)
	}
	// Nor are those told where a target leads.
	x, err := s.ExplainAccess(ctx, s.ivy, AccessQuestion{Target: pressSSH})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range x.Steps {
		if strings.Contains(step.What+step.Detail+step.Next, "press-4") && !strings.Contains(step.What+step.Detail+step.Next, pressSSH) {
			t.Errorf("%+v", step)
		}
	}
}

func TestAPassIsNoMembersCertificate(t *testing.T) {
	s := newSite(t)
	g := s.let(s.alice, pressSSH)
	id := identity.PersonID("isthmus.test", "ot", s.alice.Person, "pass")
	_, err := s.Renew(ctx, id, newCSR(t))
	want(t, err, fault.Unauthenticated, "")
	_, err = s.ServingCertificate(ctx, id, newCSR(t), []string{"contoso.azure-devices.net"})
	want(t, err, fault.Unauthenticated, "")
	want(t, s.NoteSessions(ctx, id, []session.Record{s.opens(1, g)}), fault.Unauthenticated, "")
	want(t, s.PutRecording(ctx, id, sessionID(1), strings.NewReader(""), 0, hex.EncodeToString(make([]byte, 32))), fault.Unauthenticated, "")
	_, err = s.HostCertificate(ctx, id, somebodysKey(t))
	want(t, err, fault.Unauthenticated, "")
	_, err = s.CertifySession(ctx, id, SessionCertificateRequest{Grant: g.ID, Session: sessionID(1), PublicKey: somebodysKey(t), Login: "service"})
	want(t, err, fault.Unauthenticated, "")
}

func TestAChatHidesNoLink(t *testing.T) {
	for text, want := range map[string]string{
		"<https://evil.example|approve> @here":  "&lt;https://evil.example|approve&gt; @\u200bhere",
		"[approve](https://evil.example)\nnext": "[approve]\u200b(https://evil.example) next",
	} {
		if got := chat(text); got != want {
			t.Errorf("%q, wanted %q", got, want)
		}
	}
}
