package main

import (
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/resource"
)

// describeTarget tells where a target leads and how to be let in.
func describeTarget(w *world, t *resource.Target) (next []string) {
	state := string(resource.TargetEnabled)
	if !t.Enabled() {
		state = w.painter()(red, string(resource.TargetDisabled)) + ": nobody is let in"
	}
	w.pairs(
		[2]string{"What it is", t.Spec.Description},
		[2]string{"Protocol", string(t.Protocol())},
		[2]string{"Through", targetWay(t)},
		[2]string{"State", state},
		[2]string{"Policy", first(t.Spec.Policy, resource.DefaultPolicy)},
		[2]string{"Visible to", strings.Join(t.Spec.VisibleTo, ", ")},
		[2]string{"Grants", strconv.Itoa(t.Status.Grants)},
		[2]string{"Sessions", strconv.Itoa(t.Status.Sessions)},
	)
	if s := t.Spec.SSH; s != nil {
		forwarding := "no"
		if s.PortForwarding {
			forwarding = "yes: people may reach from there what no target names"
		}
		w.pairs(
			[2]string{"Logins", first(strings.Join(s.Logins, ", "), "any account")},
			[2]string{"Host keys", hostKeyWords(s)},
			[2]string{"Port forwarding", forwarding},
		)
	}
	path := t.Key().Path()
	next = append(next, "ask to be let in:          isthmus access request "+path+" --for 1h --reason \"...\"")
	if t.Protocol() == resource.ProtocolSSH {
		next = append(next, "then log in:               isthmus ssh "+path)
	} else {
		next = append(next, "then make it reachable:    isthmus connect "+path+" --local 127.0.0.1:0")
	}
	return append(next, "see why it does not work:  isthmus access why "+path)
}

// describePolicy tells what a policy asks for, in words.
func describePolicy(w *world, p *resource.AccessPolicy) (next []string) {
	s := &p.Spec
	approvals := map[int]string{0: "none: whoever asks is let in", 1: "one", 2: "two different people"}[s.ApprovalsNeeded()]
	if s.SelfApproval {
		approvals += "; one's own request too"
	}
	emergency := "not allowed"
	if s.BreakGlass {
		emergency = "allowed, for " + s.Emergency().String()
	}
	standing := "not allowed"
	if s.Standing {
		standing = "allowed, for at most " + strconv.Itoa(int(s.LongestStanding().Hours()/24)) + " days"
	}
	recording := "off"
	if s.Recording == resource.RecordingRequired {
		recording = "every SSH session"
	}
	idle, total := "never", "as long as the grant"
	if d := s.Sessions.Idle(); d > 0 {
		idle = d.String()
	}
	if d := s.Sessions.Total(); d > 0 {
		total = d.String()
	}
	w.pairs(
		[2]string{"Approvals", approvals},
		[2]string{"Longest grant", s.Longest().String()},
		[2]string{"Requests wait", s.Wait().String()},
		[2]string{"Standing grants", standing},
		[2]string{"Break glass", emergency},
		[2]string{"Recorded", recording},
		[2]string{"Sessions of a grant", strconv.Itoa(s.Sessions.MostSessions())},
		[2]string{"Idle sessions end", idle},
		[2]string{"A session lasts", total},
		[2]string{"SOCKS5", strconv.FormatBool(s.Socks)},
		[2]string{"Targets", strconv.Itoa(p.Status.Targets)},
	)
	return []string{"see what it holds for:  isthmus get targets --tenant " + p.Metadata.Tenant}
}

// describeProvider tells what people become who sign in there.
func describeProvider(w *world, p *resource.IdentityProvider) (next []string) {
	w.pairs(
		[2]string{"Issuer", p.Spec.Issuer},
		[2]string{"Client", p.Spec.ClientID},
		[2]string{"A sign-in lasts", p.Spec.Session().String()},
		[2]string{"Roles of everybody", rolesText(p.Spec.DefaultRoles)},
	)
	if len(p.Spec.Roles) > 0 {
		w.printf("\nRoles by claim:\n")
		var rows [][]cell
		for _, r := range p.Spec.Roles {
			rows = append(rows, cells(r.Claim, r.Value, rolesText(r.Roles)))
		}
		w.table([]string{"CLAIM", "VALUE", "ROLES"}, rows)
	}
	return []string{"sign in:  isthmus login --server HOST:PORT --provider " + p.Key().Path()}
}

func rolesText(roles []resource.TenantRole) string {
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = string(r)
	}
	return strings.Join(words, ", ")
}

func hostKeyWords(s *resource.TargetSSH) string {
	if len(s.HostKeys) == 0 {
		return "the first one seen is remembered"
	}
	return strconv.Itoa(len(s.HostKeys)) + " given"
}
