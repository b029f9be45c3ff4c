package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/provisioning/provisioningclient"
)

// enrolling is what commands about enrollments of devices, and of groups, are told apart by.
type enrolling struct {
	group   bool
	word    string // "enrollment" or "group"
	path    string
	example string
}

func newEnrollments(w *world, group bool) *cobra.Command {
	e := enrolling{false, "enrollment", "isthmus dps enrollment", "press-7"}
	c := &cobra.Command{
		Use: "enrollment", Aliases: []string{"enrollments"}, Short: "Say which devices may come, one by one",
		Long: `An enrollment lets one device register, under its registration id. It goes before every group.`,
		Example: `  isthmus dps enrollment create press-7
  isthmus dps enrollment key press-7 > press-7.key`,
	}
	if group {
		e = enrolling{true, "group", "isthmus dps group", "line-7"}
		c = &cobra.Command{
			Use: "group", Aliases: []string{"groups", "enrollment-group", "enrollment-groups"}, Short: "Say which devices may come, many at a time",
			Long: `An enrollment group lets all devices register that have a key derived from the group's ("isthmus dps derive-key"), or a certificate from the group's authority.`,
			Example: `  isthmus dps group create line-7 --certificate line-7-ca.pem
  isthmus dps derive-key press-8 --group line-8`,
		}
	}
	n := &noun[*provisioningclient.Client, provisioningclient.Enrollment]{
		w: w, word: e.word, path: e.path, reach: toDPS, list: allEnrollments(group),
		get: func(dps *provisioningclient.Client, ctx context.Context, id string) (provisioningclient.Enrollment, error) {
			return dps.Enrollment(ctx, id, group)
		},
		remove: func(dps *provisioningclient.Client, ctx context.Context, id string) (int, error) {
			return 0, dps.DeleteEnrollment(ctx, id, group, provisioningclient.Any)
		},
		name: provisioningclient.Enrollment.Name, heads: []string{strings.ToUpper(e.word), "PROVES ITSELF BY", "STATUS", "HUB", "DEVICE", "UPDATED"}, row: w.enrollmentRow, show: w.printEnrollment,
	}
	c.AddCommand(newEnrollmentCreate(w, e), newEnrollmentUpdate(w, e, n), n.newList("List "+e.word+"s", ""), n.newShow("Show one, without its keys", e.example),
		newEnrollmentKey(w, e, n), newEnrollmentRegenerate(w, e, n), n.newDelete("Take "+e.word+"s away; devices stay at their hubs", e.example))
	if !group {
		c.AddCommand(newEnrollmentBulk(w))
	}
	return c
}

func allEnrollments(group bool) func(*provisioningclient.Client, context.Context) ([]provisioningclient.Enrollment, error) {
	return func(dps *provisioningclient.Client, ctx context.Context) ([]provisioningclient.Enrollment, error) {
		var list []provisioningclient.Enrollment
		for e, err := range dps.Enrollments(ctx, group) {
			if err != nil {
				return nil, err
			}
			list = append(list, e)
		}
		return list, nil
	}
}

func completeEnrollments(a access[*provisioningclient.Client], group bool) cobra.CompletionFunc {
	return a.completing(true, func(ctx context.Context, dps *provisioningclient.Client, typed string) ([]string, error) {
		var names []string
		for e, err := range dps.Enrollments(ctx, group) {
			if err != nil {
				return names, err
			}
			if strings.HasPrefix(e.Name(), typed) {
				names = append(names, e.Name())
			}
		}
		return names, nil
	})
}

// attestationWords is a type as people write it, with what it names.
func attestationWords(a provisioningclient.Attestation) string {
	switch a.Type {
	case attestKey:
		return "key"
	case attestX509:
		if a.X509 != nil && a.X509.CAReferences != nil {
			return "certificate of " + a.X509.CAReferences.Primary
		}
		return "certificate"
	}
	return a.Type
}

func hubWords(e provisioningclient.Enrollment) string {
	hubs := slices.Clone(e.Hubs)
	if e.HubHostName != "" && !slices.Contains(hubs, e.HubHostName) {
		hubs = append(hubs, e.HubHostName)
	}
	switch {
	case len(hubs) == 1:
		return hubs[0]
	case e.Custom != nil:
		return "by webhook"
	case len(hubs) > 1:
		return e.Allocation + " among " + itoa(len(hubs))
	}
	return e.Allocation
}

func (w *world) enrollmentRow(e provisioningclient.Enrollment) []cell {
	r := cells(e.Name(), attestationWords(e.Attestation), e.Status, hubWords(e), e.DeviceID, w.hubTime(e.Updated))
	if e.Status == disabled {
		r[2].colour = red
	}
	return r
}

func (w *world) printEnrollment(e provisioningclient.Enrollment) {
	what := "Enrollment"
	if e.GroupID != "" {
		what = "Group"
	}
	rows := [][2]string{{what, e.Name()}, {"Device", e.DeviceID}, {"Status", e.Status}, {"Proves itself by", attestationWords(e.Attestation)}}
	for _, c := range e.Attestation.Certificates() {
		rows = append(rows, [2]string{c.Words, c.Info.Subject + ", SHA-256 " + c.Info.SHA256 + ", until " + c.Info.NotAfter})
	}
	again := ""
	if r := e.Reprovision; r != nil {
		again = reprovisionWords(*r)
	}
	edge, webhook, among := "", "", ""
	if len(e.Hubs) > 1 {
		among = strings.Join(e.Hubs, ", ")
	}
	if e.Capabilities != nil && e.Capabilities.IoTEdge {
		edge = "yes"
	}
	if e.Custom != nil {
		webhook = e.Custom.URL
	}
	rows = append(rows, [2]string{"Hub", hubWords(e)}, [2]string{"Hubs", among}, [2]string{"Webhook", webhook}, [2]string{"When it comes again", again}, [2]string{"Edge", edge},
		[2]string{"Created", w.when(e.Created)}, [2]string{"Updated", w.when(e.Updated)}, [2]string{"ETag", e.ETag})
	w.pairs(rows...)
	if t := e.InitialTwin; t != nil {
		b, _ := json.MarshalIndent(t, "", "  ") // it came from JSON
		w.printf("\nInitial twin:\n%s\n", harmlessLines(string(b)))
	}
	if e.State != nil {
		var s provisioningclient.Registration
		if json.Unmarshal(*e.State, &s) == nil {
			w.printf("\n")
			w.printRegistration(s)
		}
	}
}

func newEnrollmentKey(w *world, e enrolling, n *noun[*provisioningclient.Client, provisioningclient.Enrollment]) *cobra.Command {
	var key string
	c := &cobra.Command{
		Use: "key " + strings.ToUpper(e.word), Short: "Print a key; it is a secret", Args: cobra.ExactArgs(1), Example: "  " + e.path + " key " + e.example + " > " + e.example + ".key",
	}
	if e.group {
		c.Long = "Print the key of a group, from which keys of devices are derived; no device is given it. It is a secret."
	}
	a := toDPS(w, c)
	addKeyChoice(c, &key)
	c.ValidArgsFunction = n.complete(a, false)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkKeyChoice(key); err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, dps *provisioningclient.Client, args []string) error {
			m, err := dps.Mechanism(c.Context(), args[0], e.group)
			switch {
			case err != nil:
				return err
			case m.SymmetricKey == nil:
				return fault.Newf("isthmus.dps", fault.Invalid, "%s %q has no key: it goes by %s", e.word, args[0], m.Type)
			case key == hubclient.Secondary:
				w.printf("%s\n", m.SymmetricKey.Secondary)
			default:
				w.printf("%s\n", m.SymmetricKey.Primary)
			}
			return nil
		})(c, args)
	}
	return c
}

func newEnrollmentRegenerate(w *world, e enrolling, n *noun[*provisioningclient.Client, provisioningclient.Enrollment]) *cobra.Command {
	var key string
	c := &cobra.Command{
		Use: "regenerate " + strings.ToUpper(e.word) + " --key primary|secondary|swap", Short: "Make a new key in place of one of its keys", Args: cobra.ExactArgs(1),
		Long: `Make a new key in place of the primary or the secondary key, or swap the two. The old key registers nobody from then on; what is connected to a hub stays so. No key is
shown.`,
		Example: "  " + e.path + " regenerate " + e.example + " --key secondary",
	}
	a := toDPS(w, c)
	addRenewal(c, &key)
	c.ValidArgsFunction = n.complete(a, false)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkRenewal(key); err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, dps *provisioningclient.Client, args []string) error {
			now, err := dps.Enrollment(c.Context(), args[0], e.group)
			if err != nil {
				return err
			}
			m, err := dps.Mechanism(c.Context(), args[0], e.group)
			if err != nil {
				return err
			}
			if m.SymmetricKey == nil {
				return fault.Newf("isthmus.dps", fault.Invalid, "%s %q has no key: it goes by %s", e.word, args[0], m.Type)
			}
			k := *m.SymmetricKey
			fresh := make([]byte, 64)
			_, _ = rand.Read(fresh) // never fails
			switch text := base64.StdEncoding.EncodeToString(fresh); key {
			case hubclient.Primary:
				k.Primary = text
			case hubclient.Secondary:
				k.Secondary = text
			default:
				k.Primary, k.Secondary = k.Secondary, k.Primary
			}
			now.Attestation.SymmetricKey = &k
			if _, err := dps.PutEnrollment(c.Context(), now, now.ETag); err != nil {
				return err
			}
			w.renewed(e.word+" "+args[0], key, 0)
			return nil
		})(c, args)
	}
	return c
}
