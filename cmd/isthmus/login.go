package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
)

func newLogin(w *world) *cobra.Command {
	n := &connection{w: w}
	var in signInFlags
	c := &cobra.Command{
		Use:   "login --server HOST:PORT",
		Short: "Sign in at a control plane, or remember a token to use there",
		Long: `Sign in and remember the control plane, with the token to use there, as a context, which later commands use.

With --provider a person signs in at an identity provider of his tenant (OpenID Connect): a browser opens, or its URL is shown. With --device the
browser may be on any machine: type the code there. What is kept is a token of a session that ends by itself, usually after eight hours; "isthmus login"
alone signs in again.

Without --provider the token was made by somebody: it comes from --token-file, from ISTHMUS_TOKEN or from standard input; never from the command line,
where other users of the machine could read it. It is checked first. Either is kept in a file only this user may read.`,
		Example: `  isthmus login --server relay.example.net:443 --pin 3f0a… --provider ot/corp
  isthmus login --device
  isthmus login --server relay.example.net:443 --pin 3f0a… --token-file ann.token
  isthmus login --server 10.0.0.5:7443 --ca-file ca.pem --name lab < ann.token`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return login(c, w, n, in) },
	}
	n.addTo(c)
	f := c.Flags()
	f.StringVar(&in.name, "name", "", "`NAME` of the context; the server's host when absent")
	f.StringVar(&in.provider, "provider", "", "`TENANT/NAME` of the identity provider to sign in at")
	f.BoolVar(&in.device, "device", false, "show a code, to be typed into a browser on any machine")
	f.BoolVar(&in.noBrowser, "no-browser", false, "show the URL and open nothing; the browser must be on this machine")
	return c
}

func login(c *cobra.Command, w *world, n *connection, in signInFlags) error {
	cfg, err := n.reach()
	if err != nil {
		return err
	}
	all, err := w.loadContexts()
	if err != nil {
		return err
	}
	if len(cfg.Addresses) == 0 {
		again, ok := all.find(first(in.name, all.Current))
		given := n.tokenFile != "" || w.getenv("ISTHMUS_TOKEN") != ""
		if !given {
			in.provider = first(in.provider, again.Provider)
		}
		if !ok || in.provider == "" && !given {
			return usagef("--server is missing").advise("isthmus login --server HOST:PORT --pin FINGERPRINT --provider TENANT/NAME, or --token-file FILE")
		}
		again.lead(&cfg)
		in.name = again.Name
	}
	if in.name == "" {
		u, err := client.ParseAddress(cfg.Addresses[0])
		if err != nil {
			return err
		}
		in.name = u.Hostname()
	}
	var saved savedContext
	if in.provider != "" {
		saved, err = signIn(c, w, cfg, in)
	} else {
		saved, err = withToken(c, w, n, cfg, in)
	}
	if err != nil {
		return err
	}
	all.put(saved)
	all.Current = saved.Name
	path, err := w.saveContexts(all)
	if err != nil {
		return err
	}
	w.note("context %q is current; kept in %s", saved.Name, path)
	return nil
}

// withToken checks a token that somebody made.
func withToken(c *cobra.Command, w *world, n *connection, cfg client.Config, in signInFlags) (savedContext, error) {
	if in.device || in.noBrowser {
		return savedContext{}, usagef("--device and --no-browser go with --provider").advise("isthmus login --provider TENANT/NAME --device")
	}
	if n.tokenFile == "" && w.getenv("ISTHMUS_TOKEN") == "" {
		n.tokenFile = "-"
	}
	var err error
	if cfg.Token, err = n.token(); err != nil {
		return savedContext{}, err
	}
	cl, err := client.New(cfg)
	if err != nil {
		return savedContext{}, err
	}
	defer cl.Close()
	defer w.waiting(cfg.Addresses[0])()
	who, err := cl.WhoAmI(c.Context())
	if err != nil {
		return savedContext{}, err
	}
	w.printf("logged in to %s as %s\n", cfg.Addresses[0], principalWords(who))
	return savedContext{
		Name: in.name, Servers: cfg.Addresses, Pin: cfg.Pin, CA: string(cfg.Roots), Token: cfg.Token, User: who.Name, Tenant: who.Tenant, Expires: who.Expires,
	}, nil
}

func newContext(w *world) *cobra.Command {
	c := &cobra.Command{
		Use:     "context",
		Short:   "List and choose the control planes this user logged in to",
		Example: "  isthmus context list\n  isthmus context use lab",
	}
	names := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		all, _ := w.loadContexts() // no completion is no harm
		return all.names(), cobra.ShellCompDirectiveNoFileComp
	}
	c.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List contexts; the current one has a star", Example: "  isthmus context list", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return listContexts(w) },
		},
		&cobra.Command{
			Use: "use NAME", Short: "Make a context the current one", Example: "  isthmus context use lab", Args: cobra.ExactArgs(1), ValidArgsFunction: names,
			RunE: func(_ *cobra.Command, args []string) error {
				return changeContexts(w, args[0], func(all *contexts) { all.Current = args[0] }, "current")
			},
		},
		&cobra.Command{
			Use: "remove NAME", Short: "Forget a context and its token", Example: "  isthmus context remove lab", Args: cobra.ExactArgs(1), ValidArgsFunction: names,
			RunE: func(_ *cobra.Command, args []string) error {
				return errors.Join(w.forgetAccess(args[0]), changeContexts(w, args[0], func(all *contexts) { all.remove(args[0]) }, "removed"))
			},
		},
	)
	return c
}

func listContexts(w *world) error {
	all, err := w.loadContexts()
	if err != nil {
		return err
	}
	if len(all.Contexts) == 0 {
		w.note("no contexts yet: isthmus login --server HOST:PORT")
		return nil
	}
	var rows [][]cell
	for _, s := range all.Contexts {
		star := " "
		if s.Name == all.Current {
			star = "*"
		}
		rows = append(rows, cells(star+" "+s.Name, strings.Join(s.Servers, ","), s.User, s.Tenant))
	}
	w.table([]string{"  NAME", "SERVER", "USER", "TENANT"}, rows)
	return nil
}

func changeContexts(w *world, name string, change func(*contexts), done string) error {
	all, err := w.loadContexts()
	if err != nil {
		return err
	}
	if _, ok := all.find(name); !ok {
		return noContext(name, all)
	}
	change(&all)
	if _, err := w.saveContexts(all); err != nil {
		return err
	}
	w.printf("context %s: %s\n", name, done)
	return nil
}

func newWhoami(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "whoami", Short: "Show whose token is used, where, with which roles and until when", Args: cobra.NoArgs,
		Example: "  isthmus whoami\n  isthmus whoami -o json",
	}
	n := addConnection(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.RunE = n.asking(func(c *cobra.Command, s *session, _ []string) error {
		who, err := s.WhoAmI(c.Context())
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, who)
		}
		until := ""
		if !who.Expires.IsZero() {
			until = ", until " + w.at(who.Expires)
		}
		w.printf("%s at %s%s\n", principalWords(who), s.server, until)
		return nil
	})
	return c
}

func principalWords(p client.Principal) string {
	if p.Person != "" {
		return p.Name + " (" + first(strings.Join(p.Roles, ", "), "no role") + " of tenant " + p.Tenant + ")"
	}
	if p.Tenant == "" {
		return p.Name + " (" + p.Role + " of the whole deployment)"
	}
	return p.Name + " (" + p.Role + " of tenant " + p.Tenant + ")"
}
