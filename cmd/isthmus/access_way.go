package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/access/dialer"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
)

// accessWay is how a command comes into targets: for the person whose token it has, with the pass that is kept or another.
type accessWay struct {
	w       *world
	n       *connection
	verbose bool
}

func addAccessWay(w *world, c *cobra.Command) *accessWay {
	a := &accessWay{w: w, n: addConnection(w, c)}
	c.Flags().BoolVarP(&a.verbose, "verbose", "v", false, "say on standard error what is tried")
	return a
}

// accessSession is an open accessWay.
type accessSession struct {
	*session
	dialer *dialer.Dialer
	folder string // for what OpenSSH reads, this user's alone
}

// open finds out as whom, and reads what was kept. It does not connect yet.
func (a *accessWay) open() (*accessSession, error) {
	cfg, tenant, err := a.n.resolve()
	if err != nil {
		return nil, err
	}
	label, err := a.n.label(cfg)
	if err != nil {
		return nil, err
	}
	folder, err := a.w.accessFolder()
	if err != nil {
		return nil, err
	}
	cl, err := client.New(cfg)
	if err != nil {
		return nil, err
	}
	s := &accessSession{session: &session{Client: cl, w: a.w, server: cfg.Addresses[0], tenant: tenant}, folder: filepath.Join(folder, label)}
	s.dialer, err = dialer.New(dialer.Config{Pass: s.pass, File: passFile(s.folder), Holder: digest(cfg.Token)}, a.logger(), a.w.clock)
	return s, err
}

func (a *accessWay) logger() *slog.Logger {
	if !a.verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(a.w.err, nil))
}

// again are the flags with which another command finds the same control plane and token.
func (a *accessWay) again() ([]string, error) {
	var out []string
	add := func(flag, value string) {
		if value != "" {
			out = append(out, "--"+flag, value)
		}
	}
	add("context", a.n.context)
	for _, s := range a.n.servers {
		add("server", s)
	}
	add("pin", a.n.pin)
	for flag, file := range map[string]string{"ca-file": a.n.caFile, "token-file": a.n.tokenFile} {
		if file == "" {
			continue
		}
		if file == "-" {
			return nil, usagef("--%s - is read once, and ssh starts commands of its own", flag).advise("name a file, or log in: isthmus login")
		}
		whole, err := filepath.Abs(file)
		if err != nil {
			return nil, fault.Wrap("isthmus.access", fault.Invalid, err, "")
		}
		add(flag, whole)
	}
	return out, nil
}

// accessFolder holds, beside the contexts, what belongs to a context and is good for hours at most.
func (w *world) accessFolder() (string, error) {
	path, err := w.configPath()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(path), "access"), nil
}

func passFile(folder string) string { return filepath.Join(folder, "pass.json") }

// label names the folder of a connection: after its context, or after a server and token that were given instead of one.
func (n *connection) label(cfg client.Config) (string, error) {
	if len(n.servers) > 0 || n.w.getenv("ISTHMUS_SERVER") != "" {
		return "server-" + digest(strings.Join(cfg.Addresses, ","), cfg.Token), nil
	}
	all, err := n.w.loadContexts()
	if err != nil {
		return "", err
	}
	return contextLabel(first(n.context, n.w.getenv("ISTHMUS_CONTEXT"), all.Current)), nil
}

// contextLabel is a context's name as that of a file.
func contextLabel(name string) string { return "context-" + url.QueryEscape(name) }

// digest tells texts apart of which one may be a secret: the token itself is kept nowhere but with its context.
func digest(texts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(texts, "\n")))
	return hex.EncodeToString(sum[:8])
}

// forgetAccess removes what a context's pass and keys are kept in.
func (w *world) forgetAccess(context string) error {
	folder, err := w.accessFolder()
	if err == nil {
		err = os.RemoveAll(filepath.Join(folder, contextLabel(context)))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap("isthmus.access", fault.Unavailable, err, "the pass that was kept cannot be removed: "+err.Error())
	}
	return nil
}

// pass asks the control plane for a pass, for a key made here.
func (s *accessSession) pass(ctx context.Context) (dialer.Pass, error) {
	signer, key, err := identity.NewKey()
	if err != nil {
		return dialer.Pass{}, err
	}
	csr, err := identity.NewRequest(signer, "")
	if err != nil {
		return dialer.Pass{}, err
	}
	p, err := s.Pass(ctx, string(csr))
	if err != nil {
		return dialer.Pass{}, err
	}
	out := dialer.Pass{Certificate: p.Certificate, Key: string(key), Roots: p.Roots, Relays: p.Relays, Expires: p.Expires}
	for _, g := range p.Grants {
		out.Grants = append(out.Grants, dialer.PassGrant(g))
	}
	return out, nil
}

// find returns the grant by which the person comes into a target now: by the pass there is, or else by a fresh one, which knows more.
func (s *accessSession) find(ctx context.Context, t targetName) (dialer.PassGrant, error) {
	p, err := s.dialer.Pass(ctx)
	if err == nil {
		g, ok, err := s.pick(p, t)
		if err != nil || ok && s.holds(ctx, g) {
			return g, err
		}
		p, err = s.dialer.Renew(ctx)
		if err == nil {
			if g, ok, err = s.pick(p, t); ok || err != nil {
				return g, err
			}
			return g, s.noGrant(ctx, t, nil)
		}
		if fault.KindOf(err) != fault.Denied {
			return g, err
		}
	}
	if fault.KindOf(err) == fault.Denied { // no grant at all, or no person
		return dialer.PassGrant{}, s.noGrant(ctx, t, err)
	}
	return dialer.PassGrant{}, err
}

// findKept is find, but takes a grant of the pass that was kept at its word: who leads there says no soon enough.
func (s *accessSession) findKept(ctx context.Context, t targetName) (dialer.PassGrant, error) {
	if p, err := s.dialer.Pass(ctx); err == nil {
		if g, ok, err := s.pick(p, t); ok || err != nil {
			return g, err
		}
	}
	return s.find(ctx, t)
}

// holds tells whether a grant of a pass that was kept is in force still and recorded as it was, or nobody can be asked: a grant may be taken
// back, another given, and a policy changed within the hour for which a pass is good.
func (s *accessSession) holds(ctx context.Context, g dialer.PassGrant) bool {
	const patience = 3 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	now, err := s.Grant(ctx, g.ID)
	if err == nil {
		return now.Live(s.w.clock.Now()) && now.Recorded == g.Recorded
	}
	k := fault.KindOf(err)
	return k == fault.Unavailable || k == fault.Timeout
}

// pick chooses among the grants of a pass. A target of one's own tenant comes before others of its name.
func (s *accessSession) pick(p dialer.Pass, t targetName) (best dialer.PassGrant, ok bool, err error) {
	now := s.w.clock.Now()
	var paths []string
	for _, g := range p.Grants {
		if _, open := p.For(g.Target, now); open && t.fits(g.Target) && !slices.Contains(paths, g.Target) {
			paths = append(paths, g.Target)
		}
	}
	if len(paths) > 1 {
		mine := slices.DeleteFunc(slices.Clone(paths), func(path string) bool { return !strings.HasPrefix(path, s.tenant+"/") })
		if len(mine) != 1 {
			slices.Sort(paths)
			return best, false, usagef("%q may be one of several targets", t.path()).advise("say which: %s", strings.Join(paths, ", "))
		}
		paths = mine
	}
	if len(paths) == 0 {
		return best, false, nil
	}
	best, ok = p.For(paths[0], now)
	return best, ok, nil
}

// noGrant says why there is no way in, and what to type. because is what the control plane said, if it did.
func (s *accessSession) noGrant(ctx context.Context, t targetName, because error) error {
	const op = "isthmus.access"
	if t.tenant == "" && t.network != "" {
		t.tenant = s.tenant
	}
	if t.whole() {
		x, err := s.WhyAccess(ctx, t.path(), "", "")
		switch {
		case err != nil && because == nil, fault.KindOf(err) == fault.NotFound:
			return err
		case err == nil && !x.Open:
			return fault.New(op, fault.Denied, x.Summary).Because(because).Advise("%s", x.Next)
		}
	}
	if because != nil {
		return because
	}
	return fault.Newf(op, fault.Denied, "nothing lets you into %s now", t.path()).
		Advise("ask to be let in: isthmus access request %s --reason TEXT", t.path())
}

// completeTargets completes names of targets; nothing when nobody can be asked.
func (a *accessWay) completeTargets(protocol resource.TargetProtocol) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.n.completing(c, func(ctx context.Context, s *session) []string {
			list, err := s.List(ctx, resource.KindTarget, client.Filter{})
			if err != nil {
				return nil
			}
			var out []string
			for _, o := range list {
				if t, ok := o.(*resource.Target); ok && (protocol == "" || t.Protocol() == protocol) {
					out = append(out, t.Key().Path())
				}
			}
			return out
		})
	}
}
