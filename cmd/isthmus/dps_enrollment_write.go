package main

import (
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning/provisioningclient"
)

// Types of attestation as the API has them.
const (
	attestKey  = "symmetricKey"
	attestX509 = "x509"
	attestTPM  = "tpm"
)

// allocations are ways to choose a hub, as flags have them and as the API has them.
func allocations() map[string]string {
	return map[string]string{"hashed": "hashed", "geo-latency": "geoLatency", "static": "static", "custom": "custom"}
}

// reprovisions are what happens when a device registers again.
func reprovisions() map[string]provisioningclient.Reprovision {
	return map[string]provisioningclient.Reprovision{"migrate": {UpdateHub: true, MigrateData: true}, "reset": {UpdateHub: true}, "keep": {}}
}

func reprovisionWords(r provisioningclient.Reprovision) string {
	switch {
	case r.UpdateHub && r.MigrateData:
		return "migrate: the hub is chosen anew, and its twin goes along"
	case r.UpdateHub:
		return "reset: the hub is chosen anew, and its twin begins anew"
	}
	return "keep: it stays where it is"
}

// enrollmentFlags say what an enrollment is.
type enrollmentFlags struct {
	w            *world
	what         enrolling
	changed      func(string) bool
	in           *input
	auth         string
	certificates []string
	authority    []string
	endorsement  string
	storageRoot  string
	primaryKey   string
	secondaryKey string
	deviceID     string
	status       string
	edge         bool
	allocation   string
	hubs         []string
	webhook      string
	reprovision  string
	tags         []string
	desired      []string
}

func addEnrollmentFlags(w *world, c *cobra.Command, what enrolling) *enrollmentFlags {
	x := &enrollmentFlags{w: w, what: what, changed: c.Flags().Changed, in: addInput(w, c, "the enrollment")}
	f := c.Flags()
	if what.group {
		f.StringVar(&x.auth, "auth", "", "`HOW` its devices prove themselves: key, x509")
		f.StringSliceVar(&x.certificates, "certificate", nil, "PEM `FILE` with the authority of their certificates; a second one for the next")
		f.StringSliceVar(&x.authority, "authority", nil, "`NAME` of a certificate of the service instead (isthmus dps certificate)")
		completingValues(c, "auth", "key", attestX509)
	} else {
		f.StringVar(&x.auth, "auth", "", "`HOW` it proves itself: key, x509, tpm")
		f.StringSliceVar(&x.certificates, "certificate", nil, "PEM `FILE` with its certificate; a second one for the next")
		f.StringVar(&x.endorsement, "endorsement-key", "", "public endorsement `KEY` of its TPM, base64")
		f.StringVar(&x.storageRoot, "storage-root-key", "", "public storage root `KEY` of its TPM, base64")
		f.StringVar(&x.deviceID, "device-id", "", "`ID` of the device at its hub; the registration id when absent")
		completingValues(c, "auth", "key", attestX509, attestTPM)
	}
	f.StringVar(&x.primaryKey, "primary-key-file", "", "`FILE` with the primary key, base64; the service makes keys when absent")
	f.StringVar(&x.secondaryKey, "secondary-key-file", "", "`FILE` with the secondary key, base64")
	f.StringVar(&x.status, "status", "", "`STATUS`: enabled, or disabled so that nobody registers")
	f.BoolVar(&x.edge, "edge", false, "devices are edge devices at their hub")
	f.StringVar(&x.allocation, "allocation", "", "`HOW` a hub is chosen: hashed, geo-latency, static, custom")
	f.StringSliceVar(&x.hubs, "hub", nil, "host name of a linked `HUB` to choose from; may be given several times; all when absent")
	f.StringVar(&x.webhook, "webhook", "", "`URL` that chooses, for custom")
	f.StringVar(&x.reprovision, "reprovision", "", "`WHAT` happens when it registers again: migrate, reset, keep")
	f.StringArrayVar(&x.tags, "tag", nil, "`PATH=VALUE` of a tag of the first twin; may be given several times")
	f.StringArrayVar(&x.desired, "desired", nil, "`PATH=VALUE` of a desired property of the first twin")
	completingValues(c, "status", enabled, disabled)
	completingValues(c, "allocation", sortedNames(allocations())...)
	completingValues(c, "reprovision", sortedNames(reprovisions())...)
	return x
}

// begin reads the document that was given, nil when there is none.
func (x *enrollmentFlags) begin(e *provisioningclient.Enrollment) error {
	text, err := x.in.json(nil)
	if err != nil || text == nil {
		return err
	}
	if err := json.Unmarshal(text, e); err != nil {
		return fault.Newf("isthmus.dps", fault.Invalid, "the enrollment is not the JSON that belongs here: %v", err).
			Advise(`write {"attestation": {"type": "symmetricKey"}}, or see what one looks like: %s show NAME -o json`, x.what.path)
	}
	return nil
}

// apply changes what flags name.
func (x *enrollmentFlags) apply(e *provisioningclient.Enrollment) error {
	if err := x.attest(&e.Attestation); err != nil {
		return err
	}
	if x.changed("status") {
		if x.status != enabled && x.status != disabled {
			return usagef("--status %q is none", x.status).advise("write enabled or disabled")
		}
		e.Status = x.status
	}
	if x.changed("device-id") {
		e.DeviceID = x.deviceID
	}
	if x.changed("edge") {
		e.Capabilities = &provisioningclient.Capabilities{IoTEdge: x.edge}
	}
	if x.changed("hub") {
		e.Hubs, e.HubHostName = x.hubs, ""
	}
	if x.changed("webhook") {
		e.Custom = &provisioningclient.Webhook{URL: x.webhook, APIVersion: "2019-03-31"}
		e.Allocation = "custom"
	}
	if x.changed("allocation") {
		way, ok := allocations()[x.allocation]
		if !ok {
			return usagef("--allocation %q is none", x.allocation).advise("write %s", strings.Join(sortedNames(allocations()), ", "))
		}
		e.Allocation = way
	}
	if x.changed("reprovision") {
		r, ok := reprovisions()[x.reprovision]
		if !ok {
			return usagef("--reprovision %q is none", x.reprovision).advise("write %s", strings.Join(sortedNames(reprovisions()), ", "))
		}
		e.Reprovision = &r
	}
	return x.twin(e)
}

func (x *enrollmentFlags) twin(e *provisioningclient.Enrollment) error {
	tags, err := nest("tag", x.tags)
	if err != nil {
		return err
	}
	desired, err := nest("desired", x.desired)
	if err != nil || tags == nil && desired == nil {
		return err
	}
	if e.InitialTwin == nil {
		e.InitialTwin = &provisioningclient.InitialTwin{}
	}
	if tags != nil {
		e.InitialTwin.Tags = tags
	}
	if desired != nil {
		e.InitialTwin.Properties = &provisioningclient.TwinProperties{Desired: desired}
	}
	return nil
}

func newEnrollmentCreate(w *world, what enrolling) *cobra.Command {
	var out output
	id := "REGISTRATION-ID"
	c := &cobra.Command{
		Short: "Create an enrollment; the service makes its keys", Args: cobra.ExactArgs(1),
		Long: `Create an enrollment. Without --auth the device proves itself by a key that the service makes; "isthmus dps enrollment key" prints it. A document of Azure's service API
is taken with --file; flags go before what it says.`,
		Example: `  isthmus dps enrollment create press-7 --tag line=7 --hub contoso.azure-devices.net
  isthmus dps enrollment create press-8 --certificate press-8.pem --reprovision keep
  isthmus dps enrollment create press-9 --file press-9.json`,
	}
	if what.group {
		id = "GROUP"
		c.Short = "Create an enrollment group; the service makes its keys"
		c.Long = `Create an enrollment group. Without --auth its devices prove themselves by keys derived from one that the service makes; "isthmus dps derive-key" prints them. A document
of Azure's service API is taken with --file; flags go before what it says.`
		c.Example = `  isthmus dps group create line-7 --allocation static --hub contoso.azure-devices.net
  isthmus dps group create line-8 --certificate line-8-ca.pem --desired interval=10
  isthmus dps group create line-9 --webhook https://choose.plant-7.example/hub`
	}
	c.Use = "create " + id
	a := toDPS(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	flags := addEnrollmentFlags(w, c, what)
	c.RunE = func(c *cobra.Command, args []string) error {
		var e provisioningclient.Enrollment
		if err := flags.begin(&e); err != nil {
			return err
		}
		e.RegistrationID, e.GroupID, e.ETag = args[0], "", ""
		if what.group {
			e.RegistrationID, e.GroupID = "", args[0]
		}
		if err := flags.apply(&e); err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, dps *provisioningclient.Client, _ []string) error {
			made, err := dps.PutEnrollment(c.Context(), e, "")
			switch {
			case fault.KindOf(err) == fault.Conflict && err != nil:
				return fault.New("isthmus.dps", fault.Conflict, fault.Message(err)).Because(err).Advise("change it with: %s update %s", what.path, args[0])
			case err != nil:
				return err
			}
			if out.structured() {
				return out.write(w, made)
			}
			w.printf("%s %s created\n", what.word, harmless(made.Name()))
			if made.Attestation.Type == attestKey && !what.group {
				w.note("its key: %s key %s", what.path, made.Name())
			}
			return nil
		})(c, args)
	}
	return c
}

func newEnrollmentUpdate(w *world, what enrolling, n *noun[*provisioningclient.Client, provisioningclient.Enrollment]) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "update " + strings.ToUpper(what.word), Short: "Change one", Args: cobra.ExactArgs(1),
		Long: `Change an enrollment: what a flag names becomes that, everything else stays, keys and certificates too. With --file the document takes the place of all but keys. A change
by others at the same time is refused, not lost.`,
		Example: "  " + what.path + " update " + what.example + " --status disabled",
	}
	a := toDPS(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	flags := addEnrollmentFlags(w, c, what)
	c.ValidArgsFunction = n.complete(a, false)
	c.RunE = a.asking(func(c *cobra.Command, dps *provisioningclient.Client, args []string) error {
		e, err := dps.Enrollment(c.Context(), args[0], what.group)
		if err != nil {
			return err
		}
		was := e
		if flags.in.file != "" {
			e = provisioningclient.Enrollment{}
		}
		if err := flags.begin(&e); err != nil {
			return err
		}
		e.RegistrationID, e.GroupID = was.RegistrationID, was.GroupID
		if err := flags.apply(&e); err != nil {
			return err
		}
		if e, err = dps.PutEnrollment(c.Context(), e, was.ETag); err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, e)
		}
		w.printf("%s %s updated\n", what.word, harmless(e.Name()))
		return nil
	})
	return c
}
