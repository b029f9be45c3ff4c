package main

import "github.com/spf13/cobra"

// newAccess is the group of commands for people who want to come into machines, and for those who decide about it.
func newAccess(w *world) *cobra.Command {
	c := &cobra.Command{
		Use:   "access",
		Short: "Let people into machines for a while, and come in",
		Long: `Ask to be let into a target, decide about those who ask, and use what was granted. A target is one way into one machine, declared by its owner;
a grant lets one person into one target until a moment, and is taken back at any time. Every session is recorded.`,
		Example: `  isthmus access ssh-config > ~/.ssh/isthmus.conf
  isthmus ssh service@ot/plant-7/press-4-ssh --reason "spindle 2 trips, ticket 4711"`,
	}
	c.AddCommand(
		newAccessRequest(w),
		newAccessList(w),
		newAccessShow(w),
		newAccessExtend(w),
		newAccessBreakGlass(w),
		newAccessStanding(w),
		newAccessWhy(w),
		newAccessSessions(w),
		newAccessReplay(w),
		newAccessWebhook(w),
		newAccessAuthority(w),
		newAccessProxy(w),
		newAccessCertificate(w),
		newAccessSSHConfig(w),
	)
	for _, st := range grantSteps() {
		c.AddCommand(newAccessStep(w, st))
	}
	return c
}
