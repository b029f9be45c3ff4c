package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/eventhub/eventhubclient"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/sas"
)

// The environment may hold the connection string of a namespace, for those who keep no file.
const eventHubEnvironment = "ISTHMUS_EVENTHUB_CONNECTION_STRING"

// eventHubAccess is the flags that say which namespace, and by which way.
type eventHubAccess struct {
	ways
	namespace string
}

func addEventHubAccess(w *world, c *cobra.Command) *eventHubAccess {
	a := &eventHubAccess{}
	a.addTo(w, c, eventHubEnvironment)
	c.Flags().StringVar(&a.namespace, "namespace", "", "`NAME` of the namespace (or its host name), where one process serves several")
	return a
}

func (a *eventHubAccess) open() (*eventhubclient.Client, error) {
	text := a.w.getenv(a.env)
	switch {
	case a.file != "":
		b, err := os.ReadFile(a.file)
		if err != nil {
			return nil, fault.Wrap("isthmus.connection", fault.Invalid, err, "the connection string cannot be read: "+err.Error())
		}
		text = string(b)
	case a.given():
		text = ""
	}
	if text == "" {
		return a.openSocket()
	}
	cs, err := sas.ParseEventHubs(text)
	if err != nil {
		return nil, err
	}
	roots, err := a.roots()
	if err != nil {
		return nil, err
	}
	return eventhubclient.New(eventhubclient.Config{Connection: cs, Address: a.address, Roots: roots}, a.w.clock)
}

func (a *eventHubAccess) openSocket() (*eventhubclient.Client, error) {
	socket, err := a.socket()
	if err != nil {
		return nil, err
	}
	return eventhubclient.New(eventhubclient.Config{Socket: socket, Namespace: a.namespace}, a.w.clock)
}

// openProcess is the way to the process itself, which knows what it serves.
func (a *eventHubAccess) openProcess() (*hubclient.Client, error) {
	socket, err := a.socket()
	if err != nil {
		return nil, err
	}
	return hubclient.New(hubclient.Config{Socket: socket}, a.w.clock)
}

// toEventHubs is the way of commands that ask a namespace.
func toEventHubs(w *world, c *cobra.Command) access[*eventhubclient.Client] {
	return access[*eventhubclient.Client]{addEventHubAccess(w, c).open}
}

// completeEventHubs completes names of event hubs.
func completeEventHubs(a access[*eventhubclient.Client], several bool) cobra.CompletionFunc {
	return a.completing(several, func(ctx context.Context, ns *eventhubclient.Client, _ string) ([]string, error) {
		list, err := ns.EventHubs(ctx)
		var names []string
		for _, h := range list {
			names = append(names, h.Name)
		}
		return names, err
	})
}

// completeGroups completes an event hub and then consumer groups of it, one or several.
func completeGroups(a access[*eventhubclient.Client], several bool) cobra.CompletionFunc {
	hubs := completeEventHubs(a, false)
	return func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return hubs(c, args, typed)
		}
		groups := a.completing(several, func(ctx context.Context, ns *eventhubclient.Client, _ string) ([]string, error) {
			list, err := ns.Groups(ctx, args[0])
			var names []string
			for _, g := range list {
				names = append(names, g.Name)
			}
			return names, err
		})
		return groups(c, args[1:], typed)
	}
}
