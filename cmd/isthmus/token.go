package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/resource"
)

func itoa(n int) string { return strconv.Itoa(n) }

func newToken(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "token", Aliases: []string{"tokens"}, Short: "Make, list and revoke API tokens, and let processes join",
		Long: `API tokens are for people and programs that use the API. Join tokens are for processes: each lets one agent, gateway, bridge, hub or relay in, once, for a short time.
The text of a token is shown once, on standard output; the server keeps only a hash of it.`,
		Example: `  isthmus token create backup --tenant ot --role owner > backup.token
  isthmus token create --mine --expires 30d > laptop.token
  isthmus token join --for agent --network ot/plant-7 --ttl 1h`,
	}
	c.AddCommand(newTokenCreate(w), newTokenList(w), newTokenRevoke(w), newTokenJoin(w), newTokenJoins(w))
	return c
}

func newTokenCreate(w *world) *cobra.Command {
	var (
		req   client.TokenRequest
		given handover
		mine  bool
		life  long
	)
	c := &cobra.Command{
		Use: "create [NAME]", Short: "Make an API token", Args: cobra.MaximumNArgs(1),
		Long: `Make an API token. Roles: reader sees, auditor also reads the audit log, network-admin changes networks and what is in
them, owner changes everything of its tenant, admin is for the whole deployment. Such a token is for a program and is good until it is revoked. The name
stands in the audit records.

With --mine it is another token of your own: it may do what your roles let you do, and it ends after --expires.`,
		Example: `  isthmus token create backup --tenant ot --role network-admin --out backup.token
  isthmus token create monitoring --role reader
  isthmus token create laptop --mine --expires 30d --out laptop.token`,
	}
	n := addConnection(w, c)
	given.addTo(c)
	f := c.Flags()
	f.StringVarP(&req.Tenant, "tenant", "t", "", "`TENANT` it is for; the whole deployment when absent (your own tenant if you have one)")
	f.StringVar(&req.Role, "role", "owner", "`ROLE`: admin, owner, network-admin, auditor, reader")
	f.BoolVar(&mine, "mine", false, "a token of your own, with your roles; NAME says what it is for")
	addLong(c, &life, "expires", "how `LONG` a token of your own is good: 90d when absent, at most 366d")
	_ = c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{"admin", "owner", "network-admin", "auditor", "reader"}, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		switch {
		case mine && (f.Changed("role") || f.Changed("tenant")):
			return usagef("a token of your own has your roles, in your tenant").advise("leave --role and --tenant out")
		case mine:
			return createMine(c, s, &given, strings.Join(args, ""), life)
		case life != 0:
			return usagef("--expires goes with --mine: a program's token is good until it is revoked").advise("isthmus token revoke ID ends it")
		case len(args) == 0:
			return usagef("the token's NAME is missing").advise("isthmus token create NAME --role ROLE, or --mine for one of your own")
		}
		req.Name = args[0]
		req.Tenant = first(req.Tenant, s.tenant)
		return given.make(w, func() (string, client.Token, error) { return s.CreateToken(c.Context(), req) })
	})
	return c
}

func newTokenList(w *world) *cobra.Command {
	var out output
	var mine bool
	c := &cobra.Command{
		Use: "list", Short: "List API tokens, never their text", Args: cobra.NoArgs, Example: "  isthmus token list\n  isthmus token list --mine",
	}
	n := addConnection(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().BoolVar(&mine, "mine", false, "only your own")
	c.RunE = n.asking(func(c *cobra.Command, s *session, _ []string) error {
		list, err := s.Tokens(c.Context())
		if err == nil && mine {
			list, err = s.mine(c.Context())
		}
		if err != nil {
			return err
		}
		return showTokens(w, &out, list)
	})
	return c
}

func newTokenRevoke(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "revoke ID", Short: "End an API token at once", Args: cobra.ExactArgs(1),
		Example: "  isthmus token revoke tk-7f3a",
	}
	n := addConnection(w, c)
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		if err := s.RevokeToken(c.Context(), args[0]); err != nil {
			return err
		}
		w.printf("token %s revoked\n", args[0])
		return nil
	})
	return c
}

func newTokenJoin(w *world) *cobra.Command {
	var (
		req     client.JoinTokenRequest
		network string
		out     output
		file    string
	)
	c := &cobra.Command{
		Use: "join --for agent|gateway|bridge|hub|relay", Short: "Make a token with which a process joins", Args: cobra.NoArgs,
		Long: `Make a join token and print the command to paste on the machine that joins. The token also says where the control plane is and how to know it. It lets
one process in, once, until it expires or is revoked: see "isthmus token joins". For a scale set, --uses lets several in, each once, and --ephemeral-after removes those
that were not seen for so long, so that machines which went leave nothing behind.`,
		Example: `  isthmus token join --for agent --network ot/plant-7 --ttl 1h
  isthmus token join --for hub --network ot/ot-cloud --name hub-1 --out hub-1.join
  isthmus token join --for relay --name eu-1
  isthmus token join --for gateway --network ot/ot-cloud --uses 20 --ephemeral-after 1h --ttl 720h --out scale-set.join`,
	}
	n := addConnection(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().StringVar(&req.For, "for", "agent", "`WHAT` joins: agent, gateway, bridge, hub or relay")
	c.Flags().StringVarP(&network, "network", "n", "", "`TENANT/NETWORK` it joins; not for relays")
	c.Flags().StringVar(&req.Name, "name", "", "the only `NAME` that may join with it; the joiner chooses when absent")
	c.Flags().DurationVar(&req.TTL, "ttl", time.Hour, "how long it may wait, as a `DURATION`")
	c.Flags().IntVar(&req.Uses, "uses", 1, "how `MANY` processes may join with it, each once; at most 1000")
	c.Flags().DurationVar(&req.EphemeralAfter, "ephemeral-after", 0, "remove what joined when it was not seen for this `DURATION`; agents, gateways and bridges only")
	c.Flags().StringVar(&file, "out", "", "write the token to a new `FILE` only this user may read, instead of showing it")
	completeFlag(n, c, "network", resource.KindNetwork)
	_ = c.RegisterFlagCompletionFunc("for", cobra.FixedCompletions([]string{"agent", "gateway", "bridge", "hub", "relay"}, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	c.RunE = n.asking(func(c *cobra.Command, s *session, _ []string) error {
		if err := joinNetwork(&req, network, s.tenant); err != nil {
			return err
		}
		kept, err := createSecret(file)
		if err != nil {
			return err
		}
		defer kept.close()
		t, err := s.CreateJoinToken(c.Context(), req)
		if err != nil {
			return err
		}
		address := ""
		if req.For == "relay" {
			address = " --address HOST:PORT" // where agents will dial it; only its owner knows
		}
		if file != "" {
			if err := kept.write(t.Secret); err != nil {
				return err
			}
			w.printf("isthmus %s join%s --token-file %s\n", req.For, address, file)
			w.note("join token %s is in %s; good %s, until %s", t.ID, file, times(req.Uses), w.at(t.Expires))
			return nil
		}
		if out.structured() {
			return out.write(w, t)
		}
		// A here-document keeps the token out of the list of processes.
		w.printf("isthmus %s join%s --token-file - <<'END'\n%s\nEND\n", req.For, address, t.Secret)
		w.note("paste this where the %s will run; good %s, until %s", req.For, times(req.Uses), w.at(t.Expires))
		return nil
	})
	return c
}

func times(n int) string {
	if n <= 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}

// joinNetwork checks --for and --network against each other.
func joinNetwork(req *client.JoinTokenRequest, network, tenant string) error {
	switch req.For {
	case "relay":
		if network != "" {
			return usagef("a relay belongs to no network").advise("leave --network out")
		}
		return nil
	case "agent", "gateway", "bridge", "hub":
	default:
		return usagef("--for %q is nothing that joins", req.For).advise("write agent, gateway, bridge, hub or relay")
	}
	if network == "" {
		return usagef("--network is missing").advise("name the network the %s joins: --network TENANT/NETWORK", req.For)
	}
	t, name, ok := strings.Cut(network, "/")
	if !ok {
		t, name = tenant, network
	}
	if t == "" || name == "" {
		return usagef("--network %q does not name a network", network).advise("write it as TENANT/NETWORK")
	}
	req.Tenant, req.Network = t, name
	return nil
}
