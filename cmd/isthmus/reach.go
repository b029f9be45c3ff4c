package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

// closer is a client of a service.
type closer interface{ Close() }

// reach adds the flags that say which service is meant, and returns the way to it.
type reach[C closer] func(*world, *cobra.Command) access[C]

// access is the way to a service, once flags are read.
type access[C closer] struct{ open func() (C, error) }

// asking is a command that asks one service.
func (a access[C]) asking(ask func(*cobra.Command, C, []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		client, err := a.open()
		if err != nil {
			return err
		}
		defer client.Close()
		return ask(c, client, args)
	}
}

// completing completes the first argument, or, with several, each of them. It gives the question a short time and its errors to nobody.
func (a access[C]) completing(several bool, ask func(ctx context.Context, client C, typed string) ([]string, error)) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 && !several {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		client, err := a.open()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer client.Close()
		parent := c.Context()
		if parent == nil {
			parent = context.Background()
		}
		ctx, cancel := context.WithTimeout(parent, 2*time.Second)
		defer cancel()
		names, _ := ask(ctx, client, typed) // no completion is no harm
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// toHub is the way of commands that ask a hub.
func toHub(w *world, c *cobra.Command) access[*hubclient.Client] {
	return access[*hubclient.Client]{addHubAccess(w, c).open}
}

// completingFlag completes the value of a flag.
func completingFlag(c *cobra.Command, flag string, complete cobra.CompletionFunc) {
	_ = c.RegisterFlagCompletionFunc(flag, func(c *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return complete(c, nil, typed)
	}) // the flag exists
}

// completingValues completes the value of a flag from those it may have.
func completingValues(c *cobra.Command, flag string, values ...string) {
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
}
