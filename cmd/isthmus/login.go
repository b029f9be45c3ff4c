package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
)

func newLogin(w *world) *cobra.Command {
	n := &connection{w: w}
	var name string
	c := &cobra.Command{
		Use:   "login --server HOST:PORT",
		Short: "Remember a control plane and the token to use there",
		Long: `Check a token against a control plane and remember both as a context, which later commands use.

The token comes from --token-file, from ISTHMUS_TOKEN or from standard input; never from the command line, where other users of the machine could
read it. It is kept in a file only this user may read.`,
		Example: `  isthmus login --server relay.example.net:443 --pin 3f0a… --token-file operator.token
  isthmus login --server 10.0.0.5:7443 --ca-file ca.pem --name lab < operator.token`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return login(c, w, n, name) },
	}
	n.addTo(c)
	c.Flags().StringVar(&name, "name", "", "`NAME` of the context; the server's host when absent")
	return c
}

func login(c *cobra.Command, w *world, n *connection, name string) error {
	if len(n.servers) == 0 && w.getenv("ISTHMUS_SERVER") == "" {
		return usagef("--server is missing").advise("isthmus login --server HOST:PORT --pin FINGERPRINT --token-file FILE")
	}
	if n.tokenFile == "" && w.getenv("ISTHMUS_TOKEN") == "" {
		n.tokenFile = "-"
	}
	cfg, _, err := n.resolve()
	if err != nil {
		return err
	}
	cl, err := client.New(cfg)
	if err != nil {
		return err
	}
	defer cl.Close()
	defer w.waiting(cfg.Addresses[0])()
	who, err := cl.WhoAmI(c.Context())
	if err != nil {
		return err
	}
	if name == "" {
		u, err := client.ParseAddress(cfg.Addresses[0])
		if err != nil {
			return err
		}
		name = u.Hostname()
	}
	all, err := w.loadContexts()
	if err != nil {
		return err
	}
	all.put(savedContext{
		Name: name, Servers: cfg.Addresses, Pin: cfg.Pin, CA: string(cfg.Roots), Token: cfg.Token, User: who.Name, Tenant: who.Tenant,
	})
	all.Current = name
	path, err := w.saveContexts(all)
	if err != nil {
		return err
	}
	w.printf("logged in to %s as %s\n", cfg.Addresses[0], principalWords(who))
	w.note("context %q is current; kept in %s", name, path)
	return nil
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
				return changeContexts(w, args[0], func(all *contexts) { all.remove(args[0]) }, "removed")
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
		Use: "whoami", Short: "Show whose token is used, and where", Args: cobra.NoArgs,
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
		w.printf("%s at %s\n", principalWords(who), s.server)
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
