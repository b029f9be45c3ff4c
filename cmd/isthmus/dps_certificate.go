package main

import (
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/provisioning/provisioningclient"
)

func newDPSCertificate(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "certificate", Aliases: []string{"certificates", "authority", "authorities"}, Short: "Keep certificates of authorities that groups refer to",
		Long: `A group may refer to a certificate of the service by its name (isthmus dps group create --authority NAME), so that it can be replaced for all groups at once. It counts
once it is verified: either you vouch for it, or you prove that you have its key by signing a certificate with a code of the service.`,
		Example: `  isthmus dps certificate add factory --certificate factory.pem
  isthmus dps certificate challenge factory
  isthmus dps certificate verify factory --certificate proof.pem`,
	}
	n := &noun[*provisioningclient.Client, provisioningclient.Authority]{
		w: w, word: "certificate", path: "isthmus dps certificate", reach: toDPS, list: (*provisioningclient.Client).Authorities,
		remove: uncounted((*provisioningclient.Client).DeleteAuthority), name: func(a provisioningclient.Authority) string { return a.Name },
		heads: []string{"CERTIFICATE", "SUBJECT", "VERIFIED", "ENDS"},
		row: func(a provisioningclient.Authority) []cell {
			r := cells(a.Name, a.Certificate.Subject, "no", w.when(a.Certificate.NotAfter))
			r[2].colour = yellow
			if a.Verified {
				r[2] = cell{"yes", green}
			}
			return r
		},
		show: func(a provisioningclient.Authority) {
			verified := "no; no group may refer to it"
			if a.Verified {
				verified = "yes"
			}
			w.pairs([2]string{"Certificate", a.Name}, [2]string{"Subject", a.Certificate.Subject}, [2]string{"Issuer", a.Certificate.Issuer}, [2]string{"SHA-256", a.Certificate.SHA256},
				[2]string{"Ends", w.when(a.Certificate.NotAfter)}, [2]string{"Verified", verified}, [2]string{"Updated", w.when(a.Updated)}, [2]string{"ETag", a.ETag})
		},
	}
	c.AddCommand(newDPSCertificateAdd(w), n.newList("List certificates", ""), n.newShow("Show a certificate", "factory"), newDPSCertificateChallenge(w, n),
		newDPSCertificateVerify(w, n), n.newDelete("Take certificates away that no group refers to", "factory"))
	return c
}

func newDPSCertificateAdd(w *world) *cobra.Command {
	var file string
	var vouch, replace bool
	var out output
	c := &cobra.Command{
		Use: "add NAME --certificate FILE", Short: "Add a certificate of an authority", Args: cobra.ExactArgs(1),
		Example: `  isthmus dps certificate add factory --certificate factory.pem
  isthmus dps certificate add factory --certificate factory-2.pem --replace --vouch`,
	}
	a := toDPS(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	c.Flags().StringVar(&file, "certificate", "", "PEM `FILE` with the certificate (required)")
	c.Flags().BoolVar(&vouch, "vouch", false, "say yourself that it is yours, instead of proving it")
	c.Flags().BoolVar(&replace, "replace", false, "put it in the place of the one of this name")
	c.RunE = func(c *cobra.Command, args []string) error {
		text, err := pemFile(file)
		if err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, dps *provisioningclient.Client, args []string) error {
			match := ""
			if replace {
				match = provisioningclient.Any
			}
			added, err := dps.PutAuthority(c.Context(), args[0], text, vouch, match)
			if err != nil {
				return err
			}
			if out.structured() {
				return out.write(w, added)
			}
			w.printf("certificate %s added: %s\n", harmless(added.Name), harmless(added.Certificate.Subject))
			if !added.Verified {
				w.note("no group may refer to it before it is verified: isthmus dps certificate challenge %s", added.Name)
			}
			return nil
		})(c, args)
	}
	return c
}

func newDPSCertificateChallenge(w *world, n *noun[*provisioningclient.Client, provisioningclient.Authority]) *cobra.Command {
	c := &cobra.Command{
		Use: "challenge CERTIFICATE", Short: "Print the code that proves an authority to be yours", Args: cobra.ExactArgs(1),
		Long:    `Print a code. Sign a certificate with the authority's key whose common name is the code, and give it to "isthmus dps certificate verify".`,
		Example: "  isthmus dps certificate challenge factory",
	}
	a := toDPS(w, c)
	c.ValidArgsFunction = n.complete(a, false)
	c.RunE = a.asking(func(c *cobra.Command, dps *provisioningclient.Client, args []string) error {
		text, err := dps.ChallengeAuthority(c.Context(), args[0])
		if err == nil {
			w.printf("%s\n", harmless(text))
		}
		return err
	})
	return c
}

func newDPSCertificateVerify(w *world, n *noun[*provisioningclient.Client, provisioningclient.Authority]) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "verify CERTIFICATE --certificate FILE", Short: "Prove with a signed code that an authority is yours", Args: cobra.ExactArgs(1),
		Example: "  isthmus dps certificate verify factory --certificate proof.pem",
	}
	a := toDPS(w, c)
	c.Flags().StringVar(&file, "certificate", "", "PEM `FILE` with a certificate whose common name is the code, signed by the authority (required)")
	c.ValidArgsFunction = n.complete(a, false)
	c.RunE = func(c *cobra.Command, args []string) error {
		text, err := pemFile(file)
		if err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, dps *provisioningclient.Client, args []string) error {
			if _, err := dps.VerifyAuthority(c.Context(), args[0], text); err != nil {
				return err
			}
			w.printf("certificate %s verified\n", harmless(args[0]))
			return nil
		})(c, args)
	}
	return c
}
