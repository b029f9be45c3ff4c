package main

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/manifest"
)

// connection is how a command reaches a control plane: flags first, then the environment, then the context.
type connection struct {
	w         *world
	context   string
	servers   []string
	caFile    string
	pin       string
	tokenFile string
}

// addConnection gives a command the connection flags.
func addConnection(w *world, c *cobra.Command) *connection {
	n := &connection{w: w}
	n.addTo(c)
	f := c.Flags()
	f.StringVar(&n.context, "context", "", "use this `NAME` of \"isthmus context list\" instead of the current one (ISTHMUS_CONTEXT)")
	_ = f.SetAnnotation("context", connectionFlag, nil) // the flag exists
	_ = c.RegisterFlagCompletionFunc("context", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		all, _ := w.loadContexts() // no completion is no harm
		return all.names(), cobra.ShellCompDirectiveNoFileComp
	})
	return n
}

// addTo adds the flags that say which server it is and how to know it.
func (n *connection) addTo(c *cobra.Command) {
	f := c.Flags()
	f.StringSliceVar(&n.servers, "server", nil, "`HOST:PORT` of the control plane or of a relay; may be repeated (ISTHMUS_SERVER)")
	f.StringVar(&n.caFile, "ca-file", "", "PEM `FILE` with the authority the server is verified by (ISTHMUS_CA_FILE)")
	f.StringVar(&n.pin, "pin", "", "`FINGERPRINT` of that authority, which the server prints when it starts (ISTHMUS_PIN)")
	f.StringVar(&n.tokenFile, "token-file", "", "`FILE` with the API token, - for standard input (or the token itself in ISTHMUS_TOKEN)")
	for _, name := range []string{"server", "ca-file", "pin", "token-file"} {
		_ = f.SetAnnotation(name, connectionFlag, nil) // the flag exists
	}
}

// session is an open connection.
type session struct {
	*client.Client
	w      *world
	server string // for progress notes
	tenant string // the tenant meant when none is said; empty for the whole deployment
}

// open finds out where to connect and as whom. It does not connect yet.
func (n *connection) open() (*session, error) {
	cfg, tenant, err := n.resolve()
	if err != nil {
		return nil, err
	}
	cl, err := client.New(cfg)
	if err != nil {
		return nil, err
	}
	return &session{Client: cl, w: n.w, server: cfg.Addresses[0], tenant: tenant}, nil
}

// wait says on standard error what is waited for once it takes long.
func (s *session) wait() func() { return s.w.waiting(s.server) }

// asking makes a command's work out of what is done with a session, which ends with it.
func (n *connection) asking(do func(c *cobra.Command, s *session, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		s, err := n.open()
		if err != nil {
			return err
		}
		defer s.Close()
		defer s.wait()()
		return do(c, s, args)
	}
}

// resolve merges flags, environment and context. A server given by flag or environment is never shown the token of a context, which
// was meant for another.
func (n *connection) resolve() (client.Config, string, error) {
	cfg, err := n.reach()
	if err != nil {
		return cfg, "", err
	}
	if cfg.Token, err = n.token(); err != nil {
		return cfg, "", err
	}
	if len(cfg.Addresses) > 0 {
		if cfg.Token == "" {
			return cfg, "", fault.Newf("isthmus.connect", fault.Unauthenticated, "no token for %s", cfg.Addresses[0]).
				Advise("give --token-file FILE, or set ISTHMUS_TOKEN, or log in: isthmus login --server %s", cfg.Addresses[0])
		}
		return cfg, "", nil
	}
	saved, current, err := n.saved()
	if err != nil {
		return cfg, "", err
	}
	if cfg.Token == "" {
		if err := saved.usable(current, n.w.clock.Now()); err != nil {
			return cfg, "", err
		}
		cfg.Token = saved.Token
	}
	saved.lead(&cfg)
	return cfg, saved.Tenant, nil
}

// reach is what flags and environment say of where the server is and how to know it.
func (n *connection) reach() (client.Config, error) {
	cfg := client.Config{UserAgent: "isthmus/" + versionText(), Addresses: n.servers, Pin: first(n.pin, n.w.getenv("ISTHMUS_PIN"))}
	if env := n.w.getenv("ISTHMUS_SERVER"); len(cfg.Addresses) == 0 && env != "" {
		cfg.Addresses = strings.Split(env, ",")
	}
	if file := first(n.caFile, n.w.getenv("ISTHMUS_CA_FILE")); file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return cfg, fault.Wrap("isthmus.connect", fault.NotFound, err, "the CA file cannot be read: "+err.Error())
		}
		cfg.Roots = b
	}
	return cfg, nil
}

// lead adds where a context leads to what is said already.
func (s savedContext) lead(cfg *client.Config) {
	cfg.Addresses = s.Servers
	if cfg.Pin == "" && cfg.Roots == nil {
		cfg.Pin, cfg.Roots = s.Pin, []byte(s.CA)
	}
}

// saved is the context that is meant, and the name of the current one.
func (n *connection) saved() (s savedContext, current string, err error) {
	all, err := n.w.loadContexts()
	if err != nil {
		return savedContext{}, "", err
	}
	name := first(n.context, n.w.getenv("ISTHMUS_CONTEXT"), all.Current)
	saved, ok := all.find(name)
	switch {
	case ok:
		return saved, all.Current, nil
	case name == "":
		return saved, "", fault.New("isthmus.connect", fault.Unauthenticated, "no control plane is chosen").
			Advise("log in: isthmus login --server HOST:PORT --pin FINGERPRINT --token-file FILE")
	}
	return saved, "", noContext(name, all)
}

func noContext(name string, all contexts) error {
	e := fault.Newf("isthmus.context", fault.NotFound, "there is no context %q", name)
	if near := manifest.Nearest(name, all.names()); near != "" {
		return e.Advise("did you mean %q? See: isthmus context list", near)
	}
	return e.Advise("see: isthmus context list")
}

// token reads the token from the file the user named or from the environment; empty when neither says one.
func (n *connection) token() (string, error) {
	if n.tokenFile == "" {
		return strings.TrimSpace(n.w.getenv("ISTHMUS_TOKEN")), nil
	}
	return n.w.secret("API token", n.tokenFile)
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// completing gives a completion a short time and its errors to nobody.
func (n *connection) completing(c *cobra.Command, ask func(context.Context, *session) []string) ([]string, cobra.ShellCompDirective) {
	s, err := n.open()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer s.Close()
	parent := c.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, 2*time.Second)
	defer cancel()
	return ask(ctx, s), cobra.ShellCompDirectiveNoFileComp
}
