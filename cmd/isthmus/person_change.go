package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/resource"
)

func roleNames() []string {
	var out []string
	for _, r := range resource.TenantRoles() {
		out = append(out, string(r))
	}
	return out
}

func rolesWords(roles []string) string {
	if len(roles) == 0 {
		return "no role"
	}
	return "the roles " + strings.Join(roles, ", ")
}

// changing makes a command that changes people by name, one after the other, and says what each has become.
func changing(w *world, c *cobra.Command, do func(ctx context.Context, s *session, p client.Person, reason string) (done string, err error)) *cobra.Command {
	var tenant, reason string
	n := addConnection(w, c)
	c.Flags().StringVarP(&tenant, "tenant", "t", "", "`TENANT` of the person; your own when absent")
	c.Flags().StringVar(&reason, "reason", "", "`WHY`; stands in the audit record")
	c.ValidArgsFunction = completePeople(n, &tenant)
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		for _, name := range args {
			p, err := s.personNamed(c.Context(), tenant, name)
			if err != nil {
				return err
			}
			done, err := do(c.Context(), s, p, reason)
			if err != nil {
				return err
			}
			w.printf("person %s/%s %s\n", p.Tenant, p.Name, done)
		}
		return nil
	})
	return c
}

func newPersonRoles(w *world) *cobra.Command {
	var roles []string
	var none bool
	c := &cobra.Command{
		Use: "roles NAME --set ROLES", Short: "Give a person exactly these roles", Args: cobra.ExactArgs(1),
		Long: `Give a person exactly these roles. Nobody gives himself a role, and the last owner stays one but for an administrator of the deployment. Grants end when no
role is left with which one may ask for them. People of an identity provider have the roles that its claims give: change those.`,
		Example: "  isthmus person roles ann@example.net --set operator,approver --reason \"on call\"",
	}
	c.Flags().StringSliceVar(&roles, "set", nil, "`ROLES`, with commas: "+strings.Join(roleNames(), ", "))
	c.Flags().BoolVar(&none, "none", false, "take all roles away")
	_ = c.RegisterFlagCompletionFunc("set", cobra.FixedCompletions(roleNames(), cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	return changing(w, c, func(ctx context.Context, s *session, p client.Person, reason string) (string, error) {
		if none == (len(roles) > 0) {
			return "", usagef("--set or --none is missing, or both are there").advise("name all roles the person is to have: --set operator,approver")
		}
		p, err := s.SetRoles(ctx, p.UID, roles, reason)
		return "has " + rolesWords(p.Roles), err
	})
}

func newPersonDisable(w *world) *cobra.Command {
	return changing(w, &cobra.Command{
		Use: "disable NAME...", Short: "Keep people from everything, at once", Args: cobra.MinimumNArgs(1),
		Long:    `Keep people from everything, at once: their tokens are revoked and their grants end, with the sessions that are open. Signing in does not help them.`,
		Example: "  isthmus person disable ann@example.net --reason \"left the company\"",
	}, func(ctx context.Context, s *session, p client.Person, reason string) (string, error) {
		_, err := s.DisablePerson(ctx, p.UID, reason)
		return "disabled", err
	})
}

func newPersonEnable(w *world) *cobra.Command {
	return changing(w, &cobra.Command{
		Use: "enable NAME...", Short: "Let disabled people in again", Args: cobra.MinimumNArgs(1),
		Long:    `Let disabled people in again. Tokens and grants that ended stay so: they sign in, or are given a new token.`,
		Example: "  isthmus person enable ann@example.net",
	}, func(ctx context.Context, s *session, p client.Person, reason string) (string, error) {
		_, err := s.EnablePerson(ctx, p.UID, reason)
		return "enabled", err
	})
}

func newPersonRemove(w *world) *cobra.Command {
	return changing(w, &cobra.Command{
		Use: "remove NAME...", Short: "Forget people; tokens and grants end", Args: cobra.MinimumNArgs(1),
		Long: `Forget people for good. Their tokens are revoked and their grants end; audit records keep the names. Somebody who signs in at an identity provider comes back
with the next sign-in: disable him instead.`,
		Example: "  isthmus person remove ann@example.net --reason \"left the company\"",
	}, func(ctx context.Context, s *session, p client.Person, reason string) (string, error) {
		return "removed", s.RemovePerson(ctx, p.UID, reason)
	})
}

func newPersonLink(w *world) *cobra.Command {
	var provider, subject string
	c := &cobra.Command{
		Use: "link NAME --provider PROVIDER --subject SUBJECT", Short: "Say who a person is at an identity provider", Args: cobra.ExactArgs(1),
		Long: `Say who a person is at an identity provider of the tenant. From then on he signs in there and has the roles that its claims give; tokens that were made for him
end. The subject is the claim sub of his identity tokens: a sign-in that is refused because the name is taken shows it.`,
		Example: "  isthmus person link ann@example.net --provider corp --subject 8f14e45f-ceea-467a",
	}
	c.Flags().StringVar(&provider, "provider", "", "`NAME` of the identity provider (required)")
	c.Flags().StringVar(&subject, "subject", "", "`SUBJECT`: who the person is there (required)")
	return changing(w, c, func(ctx context.Context, s *session, p client.Person, reason string) (string, error) {
		if provider == "" || subject == "" {
			return "", usagef("--provider or --subject is missing").advise("isthmus person link NAME --provider PROVIDER --subject SUBJECT")
		}
		_, err := s.LinkPerson(ctx, p.UID, provider, subject, reason)
		return "signs in at " + provider + " from now on", err
	})
}
