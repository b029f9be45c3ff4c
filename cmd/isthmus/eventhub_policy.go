package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventhub/eventhubclient"
)

func newEventHubPolicy(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "policy", Aliases: []string{"policies"}, Short: "Say who may send, listen and manage, and give them keys",
		Long: `A policy is a name with rights and two keys. A policy of the namespace opens every event hub, one made with --eventhub only that one. Every namespace is born with
RootManageSharedAccessKey, which may do everything: give programs policies of their own.`,
		Example: `  isthmus eventhub policy create machines --eventhub telemetry --rights Send
  isthmus eventhub policy connection-string machines --eventhub telemetry > machines.connection
  isthmus eventhub policy renew machines --eventhub telemetry --key secondary`,
	}
	var hub string
	n := &noun[*eventhubclient.Client, eventhubclient.Policy]{
		w: w, word: "policy", path: "isthmus eventhub policy",
		reach: func(w *world, c *cobra.Command) access[*eventhubclient.Client] {
			a := toEventHubs(w, c)
			c.Flags().StringVar(&hub, "eventhub", "", "`EVENTHUB` it is of; when empty it is of the namespace")
			completingFlag(c, "eventhub", completeEventHubs(a, false))
			return a
		},
		list: func(ns *eventhubclient.Client, ctx context.Context) ([]eventhubclient.Policy, error) {
			return ns.Policies(ctx, hub)
		},
		remove: func(ns *eventhubclient.Client, ctx context.Context, name string) (int, error) {
			return 0, ns.DeletePolicy(ctx, hub, name)
		},
		name: func(p eventhubclient.Policy) string { return p.Name }, heads: []string{"POLICY", "EVENT HUB", "RIGHTS", "DECLARED"},
		row: func(p eventhubclient.Policy) []cell {
			return cells(p.Name, first(p.EventHub, "all"), strings.Join(p.Rights, ", "), yesNo(p.Declared))
		},
	}
	c.AddCommand(newEventHubPolicyCreate(w, n, &hub), n.newList("List policies and what they may do, without their keys", ""), newEventHubPolicyKeys(w, n, &hub),
		newEventHubPolicyRenew(w, n, &hub), n.newDelete("Delete policies; whoever came by one is cut", "machines"), newEventHubConnectionString(w, &hub))
	return c
}

type policyNoun = noun[*eventhubclient.Client, eventhubclient.Policy]

func newEventHubPolicyCreate(w *world, n *policyNoun, hub *string) *cobra.Command {
	var rights []string
	c := &cobra.Command{
		Use: "create POLICY --rights RIGHTS", Short: "Create a policy with two new keys", Args: cobra.ExactArgs(1),
		Long: "Create a policy with two new keys. Rights are Send, Listen and Manage, which means all three and lets its holder change event hubs, consumer groups and policies.",
		Example: `  isthmus eventhub policy create machines --eventhub telemetry --rights Send
  isthmus eventhub policy create analysts --rights Listen`,
	}
	a := n.begin(c)
	c.Flags().StringSliceVar(&rights, "rights", nil, "`RIGHTS` among Send, Listen, Manage, with commas between (required)")
	completingValues(c, "rights", eventhub.EveryRight.Names()...)
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(rights) == 0 {
			return usagef("--rights is missing").advise("write --rights Send, Listen, Send,Listen or Manage")
		}
		return a.asking(func(c *cobra.Command, ns *eventhubclient.Client, args []string) error {
			p, err := ns.CreatePolicy(c.Context(), *hub, args[0], rights)
			if err != nil {
				return err
			}
			w.printf("policy %s created; it may %s\n", harmless(p.Name), strings.Join(p.Rights, ", "))
			return nil
		})(c, args)
	}
	return c
}

func newEventHubPolicyKeys(w *world, n *policyNoun, hub *string) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "keys POLICY", Short: "Print both keys of a policy; they are secrets", Args: cobra.ExactArgs(1),
		Long:    "Print both keys of a policy, on the machine of the hub process only. They are secrets.",
		Example: "  isthmus eventhub policy keys machines --eventhub telemetry -o json > machines.json",
	}
	a := addEventHubAccess(w, c)
	c.Flags().StringVar(hub, "eventhub", "", "`EVENTHUB` it is of; when empty it is of the namespace")
	out.addTo(c, "text", outJSON, outYAML)
	local := access[*eventhubclient.Client]{a.openSocket}
	completingFlag(c, "eventhub", completeEventHubs(local, false))
	c.ValidArgsFunction = n.complete(local, false)
	c.RunE = local.asking(func(c *cobra.Command, ns *eventhubclient.Client, args []string) error {
		k, err := ns.PolicyKeys(c.Context(), *hub, args[0])
		if err != nil || out.structured() {
			return w.orWrite(&out, k, err)
		}
		w.pairs([2]string{"Primary key", k.Primary}, [2]string{"Secondary key", k.Secondary})
		return nil
	})
	return c
}

func newEventHubPolicyRenew(w *world, n *policyNoun, hub *string) *cobra.Command {
	var key string
	c := &cobra.Command{
		Use: "renew POLICY --key primary|secondary|swap", Short: "Make a new key in place of one of a policy's", Args: cobra.ExactArgs(1),
		Long: `Make a new key in place of a policy's primary or secondary key, or swap the two. The old key opens nothing from then on: connections that used it are cut. With swap
nobody is cut. No key is shown.`,
		Example: `  isthmus eventhub policy renew machines --eventhub telemetry --key secondary
  isthmus eventhub policy connection-string machines --eventhub telemetry --key secondary > machines.connection`,
	}
	a := n.begin(c)
	addRenewal(c, &key)
	c.ValidArgsFunction = n.complete(a, false)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkRenewal(key); err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, ns *eventhubclient.Client, args []string) error {
			if err := ns.RenewPolicyKey(c.Context(), *hub, args[0], key); err != nil {
				return err
			}
			w.renewed("policy "+args[0], key, 0)
			return nil
		})(c, args)
	}
	return c
}

func newEventHubConnectionString(w *world, hub *string) *cobra.Command {
	var key string
	c := &cobra.Command{
		Use: "connection-string [POLICY]", Short: "Print what a program's SDK is given", Args: cobra.MaximumNArgs(1),
		Long: `Print a policy's connection string, on the machine of the hub process only; without a policy that of RootManageSharedAccessKey. It is a secret. With --eventhub it is
for that event hub alone, by its own policy of the name or by the namespace's.`,
		Example: `  isthmus eventhub policy connection-string machines --eventhub telemetry > machines.connection
  isthmus eventhub policy connection-string > root.connection`,
	}
	a := addEventHubAccess(w, c)
	local := access[*eventhubclient.Client]{a.openSocket}
	c.Flags().StringVar(hub, "eventhub", "", "`EVENTHUB` it is for; when empty it is for the namespace")
	completingFlag(c, "eventhub", completeEventHubs(local, false))
	addKeyChoice(c, &key)
	c.ValidArgsFunction = local.completing(false, func(ctx context.Context, ns *eventhubclient.Client, _ string) ([]string, error) {
		var names []string
		list, err := ns.Policies(ctx, "")
		if *hub != "" && err == nil {
			var own []eventhubclient.Policy
			own, err = ns.Policies(ctx, *hub)
			list = append(own, list...)
		}
		for _, p := range list {
			names = append(names, p.Name)
		}
		return names, err
	})
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkKeyChoice(key); err != nil {
			return err
		}
		return local.asking(func(c *cobra.Command, ns *eventhubclient.Client, args []string) error {
			k, err := ns.PolicyKeys(c.Context(), *hub, first(strings.Join(args, ""), eventhub.PolicyRoot))
			if err != nil {
				return err
			}
			text := k.PrimaryConnectionString
			if key == eventhubclient.Secondary {
				text = k.SecondaryConnectionString
			}
			w.printf("%s\n", text)
			return nil
		})(c, args)
	}
	return c
}
