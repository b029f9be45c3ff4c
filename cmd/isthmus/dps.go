package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/provisioning/provisioningclient"
)

func newDPS(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "dps", Aliases: []string{"provisioning"}, Short: "Enroll devices that find their hub by themselves",
		Long: `A provisioning service knows which devices may come, and to which hub each belongs. It is reached in one of two ways: on the machine of the hub process that serves it
through its data directory, or from anywhere with the connection string of one of its policies. A connection string is a secret: it is read from a file or from
ISTHMUS_DPS_CONNECTION_STRING, never from the command line.`,
		Example: `  isthmus dps enrollment create press-7
  isthmus dps group create line-7 --authority factory --allocation static --hub contoso.azure-devices.net
  isthmus dps derive-key press-8 --group line-8`,
	}
	c.AddCommand(newDPSShow(w), newDPSScope(w), newEnrollments(w, false), newEnrollments(w, true), newRegistrations(w), newLinkedHubs(w), newDPSCertificate(w),
		newDPSDeriveKey(w), newDPSPolicy(w), newDPSConnectionString(w))
	return c
}

// toDPS is the way of commands that ask a provisioning service.
func toDPS(w *world, c *cobra.Command) access[*provisioningclient.Client] {
	return access[*provisioningclient.Client]{addDPSAccess(w, c).open}
}

func newDPSShow(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{Use: "show", Short: "Show a service: id scope, names, hubs, policies", Args: cobra.NoArgs, Example: "  isthmus dps show"}
	a := toDPS(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.RunE = a.asking(func(c *cobra.Command, dps *provisioningclient.Client, _ []string) error {
		s, err := dps.Service(c.Context())
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, s)
		}
		w.pairs([2]string{"Service", s.Name}, [2]string{"Id scope", s.IDScope}, [2]string{"Host names", strings.Join(s.HostNames, ", ")})
		w.printf("\n")
		w.table(linkedHubHeads(), linkedHubRows(s.Hubs))
		w.printf("\n")
		var rows [][]cell
		for _, name := range sortedNames(s.Policies) {
			rows = append(rows, cells(name, strings.Join(s.Policies[name], ", ")))
		}
		w.table([]string{"POLICY", "RIGHTS"}, rows)
		return nil
	})
	return c
}

func newDPSScope(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "id-scope", Short: "Print the id scope, by which devices name the service", Args: cobra.NoArgs, Example: "  isthmus dps id-scope",
	}
	a := toDPS(w, c)
	c.RunE = a.asking(func(c *cobra.Command, dps *provisioningclient.Client, _ []string) error {
		s, err := dps.Service(c.Context())
		if err == nil {
			w.printf("%s\n", harmless(s.IDScope))
		}
		return err
	})
	return c
}

func newDPSConnectionString(w *world) *cobra.Command {
	var policy string
	c := &cobra.Command{
		Use: "connection-string", Short: "Print the connection string of a policy, for services and programs", Args: cobra.NoArgs,
		Long: `Print the connection string of one of the service's policies, on the machine of the hub process only. It is a secret. provisioningserviceowner may do everything,
enrollmentReadWrite enrolls devices, enrollmentRead sees no keys and changes nothing.`,
		Example: "  isthmus dps connection-string --policy enrollmentReadWrite > dps.connection",
	}
	a := addDPSAccess(w, c)
	c.Flags().StringVar(&policy, "policy", provisioning.PolicyOwner, "`POLICY`: provisioningserviceowner, enrollmentReadWrite, enrollmentRead")
	completingValues(c, "policy", provisioning.PolicyOwner, provisioning.PolicyReadWrite, provisioning.PolicyRead)
	c.RunE = access[*provisioningclient.Client]{a.openSocket}.asking(func(c *cobra.Command, dps *provisioningclient.Client, _ []string) error {
		text, err := dps.PolicyConnectionString(c.Context(), policy)
		if err == nil {
			w.printf("%s\n", text)
		}
		return err
	})
	return c
}

func newDPSPolicy(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "policy", Aliases: []string{"policies"}, Short: "List a service's policies and renew their keys",
		Example: `  isthmus dps policy list
  isthmus dps policy regenerate enrollmentRead --key primary`,
	}
	n := &noun[*provisioningclient.Client, provisioningclient.Policy]{
		w: w, word: "policy", path: "isthmus dps policy", reach: toDPS, list: (*provisioningclient.Client).Policies,
		name: func(p provisioningclient.Policy) string { return p.Name }, heads: []string{"POLICY", "RIGHTS"},
		row: func(p provisioningclient.Policy) []cell { return cells(p.Name, strings.Join(p.Rights, ", ")) },
	}
	c.AddCommand(n.newList("List policies and what they may do, without their keys", ""), newDPSPolicyRegenerate(w, n))
	return c
}

func newDPSPolicyRegenerate(w *world, n *noun[*provisioningclient.Client, provisioningclient.Policy]) *cobra.Command {
	var key string
	c := &cobra.Command{
		Use: "regenerate POLICY --key primary|secondary", Short: "Make a new key in place of one of a policy's", Args: cobra.ExactArgs(1),
		Long:    "Make a new key in place of a policy's primary or secondary key. The old key opens nothing from then on. No key is shown.",
		Example: "  isthmus dps policy regenerate enrollmentRead --key primary",
	}
	a := toDPS(w, c)
	c.Flags().StringVar(&key, "key", "", "which `KEY`: primary or secondary (required)")
	completingValues(c, "key", hubclient.Primary, hubclient.Secondary)
	c.ValidArgsFunction = n.complete(a, false)
	c.RunE = func(c *cobra.Command, args []string) error {
		if key == "" {
			return usagef("--key is missing").advise("write --key primary or --key secondary")
		}
		if err := checkKeyChoice(key); err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, dps *provisioningclient.Client, args []string) error {
			if err := dps.RenewPolicyKey(c.Context(), args[0], key); err != nil {
				return err
			}
			w.renewed("policy "+args[0], key, 0)
			return nil
		})(c, args)
	}
	return c
}

// derivedView is a device of a group with its key.
type derivedView struct {
	RegistrationID string `json:"registrationId"`
	Key            string `json:"symmetricKey"`
}

func newDPSDeriveKey(w *world) *cobra.Command {
	var group, file, key string
	var out output
	c := &cobra.Command{
		Use: "derive-key REGISTRATION-ID... --group GROUP", Short: "Print the keys of devices of a group; they are secrets", Args: cobra.MinimumNArgs(1),
		Long: `Print the key of a device of a group: HMAC-SHA256 of its registration id with the group's key. The group's key is asked for, with a policy that may change
enrollments, or comes from a file. One device prints its key alone, several print id and key on a line.`,
		Example: `  isthmus dps derive-key press-8 --group line-8 > press-8.key
  isthmus dps derive-key press-8 press-9 --group-key-file line-8.key`,
	}
	a := toDPS(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	addKeyChoice(c, &key)
	c.Flags().StringVar(&group, "group", "", "enrollment `GROUP` they are of")
	c.Flags().StringVar(&file, "group-key-file", "", "`FILE` with the group's key instead; - for standard input")
	completingFlag(c, "group", completeEnrollments(a, true))
	print := func(args []string, secret string) error {
		var list []derivedView
		for _, id := range args {
			if _, err := provisioning.RegistrationID(id); err != nil {
				return err
			}
			k, err := provisioning.DeriveKey(secret, id)
			if err != nil {
				return err
			}
			list = append(list, derivedView{id, k})
		}
		switch {
		case out.structured():
			return out.write(w, itemsOf(list))
		case len(list) == 1:
			w.printf("%s\n", list[0].Key)
			return nil
		}
		for _, d := range list {
			w.printf("%s %s\n", harmless(d.RegistrationID), d.Key)
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkKeyChoice(key); err != nil {
			return err
		}
		switch {
		case (group == "") == (file == ""):
			return usagef("the group is missing, or given twice").advise("write --group GROUP, or --group-key-file FILE")
		case file != "":
			secret, err := w.secret("group's key", file)
			if err != nil {
				return err
			}
			return print(args, secret)
		}
		return a.asking(func(c *cobra.Command, dps *provisioningclient.Client, args []string) error {
			m, err := dps.Mechanism(c.Context(), group, true)
			switch {
			case err != nil:
				return err
			case m.SymmetricKey == nil:
				return fault.Newf("isthmus.dps", fault.Invalid, "the devices of group %q prove themselves by %s, not by keys", group, m.Type)
			case key == hubclient.Secondary:
				return print(args, m.SymmetricKey.Secondary)
			}
			return print(args, m.SymmetricKey.Primary)
		})(c, args)
	}
	return c
}
