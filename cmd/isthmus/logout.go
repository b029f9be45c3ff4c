package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/fault"
)

func newLogout(w *world) *cobra.Command {
	n := &connection{w: w}
	c := &cobra.Command{
		Use: "logout", Short: "End the session, and forget its token", Args: cobra.NoArgs,
		Long: `End the session of a context at the control plane, and forget its token here, with the pass and the keys for machines. Where the control plane is stays known, so that "isthmus login" signs in again.

A token that was made by hand is forgotten here only: others may use it. "isthmus token revoke" ends it.`,
		Example: "  isthmus logout\n  isthmus logout --context lab",
	}
	c.Flags().StringVar(&n.context, "context", "", "`NAME` of the context; the current one when absent (ISTHMUS_CONTEXT)")
	_ = c.RegisterFlagCompletionFunc("context", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		all, _ := w.loadContexts() // no completion is no harm
		return all.names(), cobra.ShellCompDirectiveNoFileComp
	})
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, current, err := n.saved()
		if err != nil {
			return err
		}
		if s.Token == "" {
			w.printf("you are logged out of %s already\n", s.Name)
			return nil
		}
		told := w.signOut(c.Context(), s)
		all, err := w.loadContexts()
		if err != nil {
			return err
		}
		s.Token, s.Expires = "", time.Time{}
		all.put(s)
		all.Current = current
		_, err = w.saveContexts(all)
		if err := errors.Join(err, w.forgetAccess(s.Name)); err != nil {
			return err
		}
		w.printf("logged out of %s\n", s.Name)
		if told != "" {
			w.note("%s", told)
		}
		return nil
	}
	return c
}

// signOut ends the session of a context at the server, and returns what else there is to know. The token is forgotten whatever comes of it.
func (w *world) signOut(ctx context.Context, s savedContext) string {
	if s.Provider == "" {
		return "the token itself is good still; isthmus token revoke ends it"
	}
	if !s.Expires.IsZero() && !w.clock.Now().Before(s.Expires) {
		return ""
	}
	cfg := client.Config{UserAgent: "isthmus/" + versionText(), Token: s.Token}
	s.lead(&cfg)
	cl, err := client.New(cfg)
	if err == nil {
		defer cl.Close()
		defer w.waiting(cfg.Addresses[0])()
		err = cl.SignOut(ctx)
	}
	if err != nil && fault.KindOf(err) != fault.Unauthenticated { // which is a session that has ended
		return "the control plane was not told (" + fault.Message(err) + "); the session ends by itself at " + w.at(s.Expires)
	}
	return ""
}
