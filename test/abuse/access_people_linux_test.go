package abuse

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/dialer"
	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/test/processes"
)

// somebody is a person with a home of his own.
type somebody struct {
	*client.Client
	p                 *shop
	uid, name, secret string
	home              *processes.Deployment
}

func (p *shop) person(name string, roles ...resource.TenantRole) *somebody {
	p.t.Helper()
	ctx := p.t.Context()
	r := client.PersonRequest{Tenant: "ot", Name: name}
	for _, role := range roles {
		r.Roles = append(r.Roles, string(role))
	}
	made, err := p.admin.CreatePerson(ctx, r)
	must(p.t, err)
	s := &somebody{p: p, uid: made.UID, name: name, home: processes.New(filepath.Join(p.Dir, "home-"+made.UID), p.Binary)}
	s.secret, _, err = p.admin.CreatePersonToken(ctx, made.UID, "abuse", 0)
	must(p.t, err)
	s.Client = p.client(s.secret)
	must(p.t, os.MkdirAll(s.home.Dir, 0o700))
	return s
}

// login makes a context for the command line, which only some need.
func (s *somebody) login() *somebody {
	s.p.t.Helper()
	_, err := s.home.CLI(s.p.t.Context(), "", s.secret+"\n", "login", "--server", s.p.address, "--ca-file", filepath.Join(s.p.Dir, "server", "ca.pem"), "--token-file", "-")
	must(s.p.t, err)
	return s
}

// command prepares a program that runs as the person, with isthmus on its path.
func (s *somebody) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), "HOME="+s.home.Dir, "XDG_CONFIG_HOME="+filepath.Join(s.home.Dir, "config"), "PATH="+filepath.Dir(s.p.Binary)+":"+os.Getenv("PATH"), "LC_ALL=C.UTF-8")
	c.WaitDelay = 5 * time.Second
	return c
}

// isthmus runs the command line as the person, and returns all that a terminal would be given.
func (s *somebody) isthmus(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.p.t.Context(), patient)
	defer cancel()
	out, err := s.command(ctx, s.p.Binary, args...).CombinedOutput()
	return string(out), err
}

// prints runs the command line and fails the test when that fails, or prints what could do more to a terminal than draw.
func (s *somebody) prints(args ...string) string {
	s.p.t.Helper()
	out, err := s.isthmus(args...)
	if err != nil {
		s.p.t.Errorf("isthmus %q: %v: %s", args, err, out)
	}
	tame(s.p.t, fmt.Sprintf("isthmus %q", args), out)
	return out
}

// tame checks that a text holds no control character but those which end lines and separate columns.
func tame(t testing.TB, what, text string) {
	t.Helper()
	for i, r := range text {
		if r < ' ' && r != '\n' && r != '\t' && r != '\r' || r >= 0x7f && r < 0xa0 {
			t.Errorf("%s has %q in %q", what, r, text[max(0, i-40):min(len(text), i+40)])
			return
		}
	}
}

const because = "the press squeaks"

// letIn has somebody let in by another.
func (s *somebody) letIn(by *somebody, r client.GrantRequest) client.Grant {
	s.p.t.Helper()
	ctx := s.p.t.Context()
	if r.Target == "" {
		r.Target = "ot/plant-7/echo"
	}
	if r.Reason == "" {
		r.Reason = because
	}
	g, err := s.RequestAccess(ctx, r)
	must(s.p.t, err)
	g, err = by.DecideGrant(ctx, g.ID, "approve", "", 0)
	must(s.p.t, err)
	if g.State != grant.Approved {
		s.p.t.Fatalf("%+v", g)
	}
	return g
}

// pass asks for one, for some grants or for all.
func (s *somebody) pass(ctx context.Context, grants ...string) (dialer.Pass, error) {
	key, keyPEM, err := identity.NewKey()
	if err != nil {
		return dialer.Pass{}, err
	}
	csr, err := identity.NewRequest(key, "")
	if err != nil {
		return dialer.Pass{}, err
	}
	got, err := s.Pass(ctx, string(csr), grants...)
	if err != nil {
		return dialer.Pass{}, err
	}
	// What the two packages call a pass is the same document.
	b, err := json.Marshal(got)
	if err != nil {
		return dialer.Pass{}, err
	}
	out := dialer.Pass{}
	err = json.Unmarshal(b, &out)
	out.Key = string(keyPEM)
	return out, err
}

func (s *somebody) mustPass(grants ...string) dialer.Pass {
	s.p.t.Helper()
	pass, err := s.pass(s.p.t.Context(), grants...)
	must(s.p.t, err)
	return pass
}

// visits runs the person's program with passes of his own.
func (s *somebody) visits() *dialer.Dialer {
	s.p.t.Helper()
	return s.p.dialer(dialer.Config{Pass: func(ctx context.Context) (dialer.Pass, error) { return s.pass(ctx) }})
}

// with runs a program with one pass and no other, whoever's it is and whatever somebody wrote into it.
func (p *shop) with(pass dialer.Pass) *dialer.Dialer {
	p.t.Helper()
	return p.dialer(dialer.Config{
		Pass: func(context.Context) (dialer.Pass, error) { return pass, nil }, Patience: 2 * time.Second, Settle: time.Millisecond,
	})
}

func (p *shop) dialer(cfg dialer.Config) *dialer.Dialer {
	p.t.Helper()
	d, err := dialer.New(cfg, slog.New(slog.DiscardHandler), clock.System{})
	must(p.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	p.t.Cleanup(func() { cancel(); <-ended })
	return d
}

// arrives waits until the machine knows of a grant.
func (s *somebody) arrives(g client.Grant) {
	s.p.t.Helper()
	d := s.visits()
	await(s.p.t, "the grant's arrival", func() error { return goesIn(s.p.t.Context(), d, g.ID) })
}

// goesIn dials a target, has some bytes echoed and leaves.
func goesIn(ctx context.Context, d *dialer.Dialer, grant string) error {
	c, err := d.Dial(ctx, grant)
	if err != nil {
		return err
	}
	defer c.Close()
	return echoed(c, 200)
}

// session waits until a session of this sort has been told of.
func (s *somebody) session(what string, f client.SessionFilter, is func(client.Session) bool) (found client.Session) {
	s.p.t.Helper()
	f.Refused, f.Limit = true, 1000
	await(s.p.t, what, func() error {
		list, err := s.Sessions(s.p.t.Context(), f)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(list, is)
		if i < 0 {
			return fmt.Errorf("none of %d sessions is it: %+v", len(list), list[:min(len(list), 5)])
		}
		found = list[i]
		return nil
	})
	return found
}

// explains checks that isthmus access why, asked by somebody, says a thing.
func (s *somebody) explains(words string, args ...string) {
	s.p.t.Helper()
	if out := s.prints(append([]string{"access", "why"}, args...)...); !strings.Contains(out, words) {
		s.p.t.Errorf("isthmus access why %q does not say %q:\n%s", args, words, out)
	}
}
