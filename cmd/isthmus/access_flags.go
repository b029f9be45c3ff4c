package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/resource"
)

// long is a flag for a length of time, also in days: 30m, 2h, 3d.
type long time.Duration

// String, Set and Type make it a pflag.Value.
func (l *long) String() string {
	if *l == 0 {
		return ""
	}
	return time.Duration(*l).String()
}

func (l *long) Set(s string) error {
	days, inDays := strings.CutSuffix(s, "d")
	text := s
	if inDays {
		text = days + "h"
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > 10_000*time.Hour {
		return usagef("write it as 30m, 2h or 3d")
	}
	if inDays {
		d *= 24
	}
	*l = long(d)
	return nil
}

func (l *long) Type() string { return "LONG" }

// addLong gives a command a flag for a length of time.
func addLong(c *cobra.Command, l *long, name, usage string) {
	c.Flags().Var(l, name, usage)
	completingValues(c, name, "30m", "1h", "2h", "8h", "1d")
}

// parseFrom reads when something begins: a time of day by this machine's clock, which is tomorrow's when it is over today, or RFC 3339.
func parseFrom(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation("2006-01-02T15:04", s, now.Location()); err == nil {
		return t, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return t, usagef("--from %q is no time", s).advise("write 14:00, 2026-11-23T14:00 or 2026-11-23T14:00:00Z")
	}
	out := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, now.Location())
	if out.Before(now.Truncate(time.Minute)) {
		out = time.Date(now.Year(), now.Month(), now.Day()+1, t.Hour(), t.Minute(), 0, 0, now.Location())
	}
	return out, nil
}

// parseHours reads working hours: "Mon-Fri 08:00-17:00 Europe/Berlin".
func parseHours(s string) (*resource.WorkingHours, error) {
	if s == "" {
		return nil, nil
	}
	bad := usagef("--hours %q cannot be read", s).advise(`write "Mon-Fri 08:00-17:00 Europe/Berlin", or days one by one: "Mon,Wed 22:00-06:00 UTC"`)
	parts := strings.Fields(s)
	if len(parts) != 3 {
		return nil, bad
	}
	from, to, ok := strings.Cut(parts[1], "-")
	if !ok {
		return nil, bad
	}
	week := []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}
	h := &resource.WorkingHours{From: from, To: to, TimeZone: parts[2]}
	for part := range strings.SplitSeq(parts[0], ",") {
		first, last, span := strings.Cut(part, "-")
		if !span {
			last = first
		}
		i, j := slices.Index(week, first), slices.Index(week, last)
		if i < 0 || j < 0 {
			return nil, bad
		}
		for ; ; i = (i + 1) % len(week) {
			h.Days = append(h.Days, week[i])
			if i == j {
				break
			}
		}
	}
	return h, h.Validate()
}

// completeGrants completes ids of grants.
func completeGrants(n *connection, f client.GrantFilter, wanted func(client.Grant) bool) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return n.completing(c, func(ctx context.Context, s *session) []string {
			list, err := s.Grants(ctx, f)
			if err != nil {
				return nil
			}
			var out []string
			for _, g := range list {
				if wanted(g) {
					out = append(out, g.ID+"\t"+harmless(g.Person.Who()+" "+g.Target))
				}
			}
			return out
		})
	}
}

// completeTarget completes the one argument of a command with targets.
func completeTarget(n *connection) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return n.completing(c, func(ctx context.Context, s *session) []string { return paths(ctx, s, resource.KindTarget) })
	}
}

// completeApprovers completes names of people who may approve.
func completeApprovers(n *connection, c *cobra.Command, flag string) {
	_ = c.RegisterFlagCompletionFunc(flag, func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) { // the flag exists
		return n.completing(c, func(ctx context.Context, s *session) []string {
			list, err := s.People(ctx, s.tenant)
			if err != nil {
				return nil
			}
			var out []string
			for _, p := range list {
				if slices.Contains(p.Roles, string(resource.RoleApprover)) || slices.Contains(p.Roles, string(resource.RoleOwner)) {
					out = append(out, p.Name)
				}
			}
			return out
		})
	})
}

// grantCell is a grant's state with its colour; emergencies are red.
func grantCell(g client.Grant) cell {
	text := string(g.State)
	switch {
	case g.Kind == grant.BreakGlass && g.Unreviewed:
		return cell{text + " EMERGENCY", red}
	case g.Kind == grant.BreakGlass:
		text += " (emergency)"
	case g.Kind == grant.Standing:
		text += " (standing)"
	}
	if g.Extension != nil {
		text += " +" + shortSpan(g.Extension.For) + "?"
	}
	switch g.State {
	case grant.Approved:
		return cell{text, green}
	case grant.Requested:
		return cell{text, yellow}
	case grant.Denied, grant.Revoked:
		return cell{text, red}
	case grant.Withdrawn, grant.Lapsed, grant.Expired:
	}
	return cell{text, dim}
}

// shortSpan is a length of time without what is zero in it: 2h, 1h30m, 3d.
func shortSpan(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day && d%day == 0 {
		return itoa(int(d/day)) + "d"
	}
	s := d.String()
	if d != 0 && d%time.Minute == 0 {
		s = strings.TrimSuffix(s, "0s")
	}
	if d != 0 && d%time.Hour == 0 {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// listWords joins names as people do.
func listWords(list []string) string { return strings.Join(list, ", ") }
