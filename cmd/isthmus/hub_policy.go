package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

func newHubPolicy(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "policy", Aliases: []string{"policies"}, Short: "List a hub's policies and renew their keys",
		Long: `Every hub has five policies. Each has two keys, so that one can be renewed while programs use the other: renew the secondary, give the programs the
connection string with it, then renew the primary. It takes the data directory on the machine of the hub, or the connection string of iothubowner.`,
		Example: `  isthmus hub policy list
  isthmus hub policy regenerate service --key secondary`,
	}
	c.AddCommand(newPolicyList(w), newPolicyRegenerate(w))
	return c
}

func newPolicyList(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "list", Short: "List policies and what they may do, without their keys", Args: cobra.NoArgs, Example: "  isthmus hub policy list",
	}
	a := addHubAccess(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.RunE = func(c *cobra.Command, _ []string) error {
		hub, err := a.open()
		if err != nil {
			return err
		}
		defer hub.Close()
		list, err := hub.Policies(c.Context())
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, struct {
				Items []hubclient.Policy `json:"items"`
			}{list})
		}
		var rows [][]cell
		for _, p := range list {
			rows = append(rows, cells(p.Name, strings.Join(p.Rights, ", ")))
		}
		w.table([]string{"POLICY", "RIGHTS"}, rows)
		return nil
	}
	return c
}

func newPolicyRegenerate(w *world) *cobra.Command {
	var key string
	c := &cobra.Command{
		Use: "regenerate POLICY --key primary|secondary|swap", Short: "Make a new key in place of one of a policy's", Args: cobra.ExactArgs(1),
		Long: `Make a new key in place of a policy's primary or secondary key, or swap the two. The old key opens nothing from then on: connections of devices and readers
of events that used it are cut. With swap nobody is cut. No key is shown: "isthmus hub connection-string" does that.`,
		Example: `  isthmus hub policy regenerate service --key secondary
  isthmus hub connection-string --policy service --key secondary > service.connection
  isthmus hub policy regenerate service --key primary`,
	}
	a := addHubAccess(w, c)
	addRenewal(c, &key)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkRenewal(key); err != nil {
			return err
		}
		hub, err := a.open()
		if err != nil {
			return err
		}
		defer hub.Close()
		cut, err := hub.RenewPolicyKey(c.Context(), args[0], key)
		if err != nil {
			return err
		}
		w.renewed("policy "+args[0], key, cut)
		if key != hubclient.Swap {
			w.note("print it with: isthmus hub connection-string --policy %s --key %s", args[0], key)
		}
		return nil
	}
	return c
}

func newDeviceRegenerate(w *world) *cobra.Command {
	return newIdentityRegenerate(w, "device", "DEVICE", "sensor-1", completeDevices, func(string) error { return nil })
}

func newModuleRegenerate(w *world) *cobra.Command {
	return newIdentityRegenerate(w, "module", "DEVICE/MODULE", "press-4/camera", completeModules, moduleName)
}

func newIdentityRegenerate(w *world, word, what, example string, complete func(access[*hubclient.Client], bool) cobra.CompletionFunc, check func(string) error) *cobra.Command {
	var key string
	c := &cobra.Command{
		Use: "regenerate " + what + " --key primary|secondary|swap", Short: "Make a new key in place of one of a " + word + "'s", Args: cobra.ExactArgs(1),
		Long: `Make a new key in place of a ` + word + `'s primary or secondary key, or swap the two. The old key opens nothing from then on, and the ` + word + ` is cut if it used
it. With swap it is not cut. No key is shown: "isthmus hub ` + word + ` connection-string" does that.`,
		Example: `  isthmus hub ` + word + ` regenerate ` + example + ` --key secondary
  isthmus hub ` + word + ` connection-string ` + example + ` --key secondary > ` + word + `.connection`,
	}
	a := toHub(w, c)
	addRenewal(c, &key)
	c.ValidArgsFunction = complete(a, false)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := errors.Join(check(args[0]), checkRenewal(key)); err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
			cut, err := hub.RenewDeviceKey(c.Context(), args[0], key)
			if err != nil {
				return err
			}
			w.renewed(nameWords(args[0]), key, cut)
			if key != hubclient.Swap {
				w.note("print it with: isthmus hub %s connection-string %s --key %s", word, args[0], key)
			}
			return nil
		})(c, args)
	}
	return c
}

func renewals() []string { return []string{hubclient.Primary, hubclient.Secondary, hubclient.Swap} }

func addRenewal(c *cobra.Command, key *string) {
	c.Flags().StringVar(key, "key", "", "which `KEY`: primary, secondary, or swap to make them change places (required)")
	_ = c.RegisterFlagCompletionFunc("key", cobra.FixedCompletions(renewals(), cobra.ShellCompDirectiveNoFileComp)) // the flag exists
}

// checkRenewal wants the key named: a guess could cut a plant off.
func checkRenewal(key string) error {
	switch {
	case key == "":
		return usagef("--key is missing").advise("write --key %s", strings.Join(renewals(), " or --key "))
	case !slices.Contains(renewals(), key):
		return usagef("--key %q is none", key).advise("write %s", strings.Join(renewals(), ", "))
	}
	return nil
}

func (w *world) renewed(whose, key string, cut int) {
	what := "has a new " + key + " key"
	if key == hubclient.Swap {
		what = "has its keys swapped"
	}
	w.printf("%s %s%s\n", harmless(whose), what, wereCut(cut))
}

// addKeyChoice lets a connection string be printed with either key.
func addKeyChoice(c *cobra.Command, key *string) {
	c.Flags().StringVar(key, "key", hubclient.Primary, "with this `KEY`: primary or secondary")
	_ = c.RegisterFlagCompletionFunc("key", cobra.FixedCompletions([]string{hubclient.Primary, hubclient.Secondary}, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
}

func checkKeyChoice(key string) error {
	if key != hubclient.Primary && key != hubclient.Secondary {
		return usagef("--key %q is none", key).advise("write primary or secondary")
	}
	return nil
}
