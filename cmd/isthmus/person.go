package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/manifest"
)

func newPerson(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "person", Aliases: []string{"people", "persons"}, Short: "The people of a tenant: who they are and what they may do",
		Long: `People are let into machines, approve that others are, and own a tenant; programs have tokens of other sorts ("isthmus token create"). Somebody becomes a person of
a tenant by signing in at one of its identity providers ("isthmus login --provider"), whose claims give the roles, or because an owner makes him one here.

Roles: owner (everything of the tenant), network-admin (networks and what is in them, connections), operator (asks to be let into targets),
approver (decides who is), auditor (reads the audit log and recordings). A person may have several.`,
		Example: `  isthmus person create ann@example.net --roles operator
  isthmus person token ann@example.net --expires 30d --out ann.token
  isthmus person disable ann@example.net --reason "left the company"`,
	}
	c.AddCommand(newPersonList(w), newPersonShow(w), newPersonCreate(w), newPersonRoles(w), newPersonToken(w), newPersonDisable(w), newPersonEnable(w), newPersonLink(w), newPersonRemove(w))
	return c
}

// personNamed finds a person by name, or by TENANT/NAME.
func (s *session) personNamed(ctx context.Context, tenant, name string) (client.Person, error) {
	if t, rest, ok := strings.Cut(name, "/"); ok {
		tenant, name = t, rest
	}
	all, err := s.People(ctx, first(tenant, s.tenant))
	if err != nil {
		return client.Person{}, err
	}
	var found []client.Person
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
		if p.Name == strings.ToLower(name) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		e := fault.Newf("isthmus.personNamed", fault.NotFound, "there is no person %q", name)
		if near := manifest.Nearest(strings.ToLower(name), names); near != "" {
			return client.Person{}, e.Advise("did you mean %q? See: isthmus person list", near)
		}
		return client.Person{}, e.Advise("see: isthmus person list")
	}
	return client.Person{}, usagef("%d tenants have a person called %s", len(found), name).advise("write TENANT/%s", name)
}

func completePeople(n *connection, tenant *string) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return n.completing(c, func(ctx context.Context, s *session) []string {
			all, _ := s.People(ctx, first(*tenant, s.tenant)) // no completion is no harm
			var names []string
			for _, p := range all {
				names = append(names, p.Name)
			}
			return names
		})
	}
}

func newPersonList(w *world) *cobra.Command {
	var out output
	var tenant string
	c := &cobra.Command{Use: "list", Short: "List people and their roles", Args: cobra.NoArgs, Example: "  isthmus person list\n  isthmus person list --tenant ot -o json"}
	n := addConnection(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().StringVarP(&tenant, "tenant", "t", "", "only those of this `TENANT`")
	c.RunE = n.asking(func(c *cobra.Command, s *session, _ []string) error {
		list, err := s.People(c.Context(), first(tenant, s.tenant))
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, struct {
				Items []client.Person `json:"items"`
			}{append([]client.Person{}, list...)})
		}
		var rows [][]cell
		for _, p := range list {
			r := cells(p.Tenant+"/"+p.Name, strings.Join(p.Roles, ","), "", p.Provider, w.ago(p.SignedInAt), w.age(p.CreatedAt))
			r[2] = w.personState(p)
			rows = append(rows, r)
		}
		w.table([]string{"NAME", "ROLES", "STATE", "SIGNS IN AT", "LAST SIGN-IN", "AGE"}, rows)
		return nil
	})
	return c
}

func (w *world) personState(p client.Person) cell {
	switch {
	case !p.DisabledAt.IsZero():
		return cell{"disabled " + w.ago(p.DisabledAt), red}
	case len(p.Roles) == 0:
		return cell{"no role", yellow}
	}
	return cell{"enabled", green}
}

func newPersonShow(w *world) *cobra.Command {
	var out output
	var tenant string
	c := &cobra.Command{Use: "show NAME", Short: "Show a person and his tokens", Args: cobra.ExactArgs(1), Example: "  isthmus person show ann@example.net"}
	n := addConnection(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().StringVarP(&tenant, "tenant", "t", "", "`TENANT` of the person; your own when absent")
	c.ValidArgsFunction = completePeople(n, &tenant)
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		p, err := s.personNamed(c.Context(), tenant, args[0])
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, p)
		}
		w.pairs([][2]string{
			{"person", p.Tenant + "/" + p.Name}, {"state", w.personState(p).text}, {"roles", first(strings.Join(p.Roles, ", "), "none")},
			{"signs in at", p.Provider}, {"subject there", p.Subject}, {"last sign-in", w.at(p.SignedInAt)}, {"made", w.at(p.CreatedAt) + " by " + p.CreatedBy}, {"uid", p.UID},
		}...)
		tokens, err := s.PersonTokens(c.Context(), p.UID)
		if fault.KindOf(err) == fault.NotFound || err == nil && len(tokens) == 0 { // which not everybody sees
			return nil
		}
		if err != nil {
			return err
		}
		w.printf("\n")
		return showTokens(w, &out, tokens)
	})
	return c
}

func newPersonCreate(w *world) *cobra.Command {
	var (
		req client.PersonRequest
		out output
	)
	c := &cobra.Command{
		Use: "create NAME", Short: "Make a person who does not sign in at an identity provider", Args: cobra.ExactArgs(1),
		Long: `Make a person. He can do nothing before he has a token: "isthmus person token NAME". The name is in lower case and stands in audit records and in the
certificates of sessions; an e-mail address will do.`,
		Example: "  isthmus person create ann@example.net --roles operator,approver --tenant ot",
	}
	n := addConnection(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	f := c.Flags()
	f.StringVarP(&req.Tenant, "tenant", "t", "", "`TENANT` of the person; your own when absent")
	f.StringSliceVar(&req.Roles, "roles", nil, "`ROLES`, with commas: "+strings.Join(roleNames(), ", "))
	f.StringVar(&req.Reason, "reason", "", "`WHY`; stands in the audit record")
	_ = c.RegisterFlagCompletionFunc("roles", cobra.FixedCompletions(roleNames(), cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		req.Name, req.Tenant = args[0], first(req.Tenant, s.tenant)
		if req.Tenant == "" {
			return usagef("--tenant is missing").advise("a person belongs to one tenant: --tenant TENANT")
		}
		p, err := s.CreatePerson(c.Context(), req)
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, p)
		}
		w.printf("person %s/%s created with %s\n", p.Tenant, p.Name, rolesWords(p.Roles))
		w.note("make the first token with: isthmus person token %s/%s", p.Tenant, p.Name)
		return nil
	})
	return c
}
