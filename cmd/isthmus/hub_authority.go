package main

import (
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

func newHubAuthority(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "authority", Aliases: []string{"authorities", "ca"}, Short: "Say whose certificates devices may come with",
		Long: `A device that was created with --auth ca is let in with a certificate for its id, signed by an authority of the hub or by one below it. An authority counts once it
is verified: either you vouch for it, or you prove that you have its key by signing a certificate with a code of the hub.`,
		Example: `  isthmus hub authority add factory --certificate factory.pem
  isthmus hub authority challenge factory
  isthmus hub authority verify factory --certificate proof.pem`,
	}
	n := &noun[*hubclient.Client, hubclient.Authority]{
		w: w, word: "authority", path: "isthmus hub authority", reach: toHub, list: (*hubclient.Client).Authorities, get: (*hubclient.Client).Authority,
		remove: (*hubclient.Client).DeleteAuthority, name: func(a hubclient.Authority) string { return a.Name },
		heads: []string{"AUTHORITY", "SUBJECT", "VERIFIED", "ENDS"}, row: w.authorityRow, show: w.printAuthority,
	}
	c.AddCommand(newAuthorityAdd(w), n.newList("List authorities", ""), n.newShow("Show an authority with its certificate", "factory"), newAuthorityChallenge(w, n),
		newAuthorityVerify(w, n), n.newDelete("Take authorities away; devices they vouched for are cut", "factory"))
	return c
}

func (w *world) authorityRow(a hubclient.Authority) []cell {
	r := cells(a.Name, a.Subject, "no", w.at(a.NotAfter))
	r[2].colour = yellow
	if a.Verified {
		r[2] = cell{"yes", green}
	}
	if a.NotAfter.Before(w.clock.Now()) {
		r[3].colour = red
	}
	return r
}

func (w *world) printAuthority(a hubclient.Authority) {
	verified := "no; nobody is let in by it"
	if a.Verified {
		verified = "yes"
	}
	w.pairs([2]string{"Authority", a.Name}, [2]string{"Subject", a.Subject}, [2]string{"Verified", verified}, [2]string{"Thumbprint", a.Thumbprint},
		[2]string{"Ends", w.at(a.NotAfter)}, [2]string{"Added", w.at(a.Created)}, [2]string{"ETag", a.ETag})
	w.printf("\n%s", harmlessLines(a.Certificate))
}

// pemFile reads a certificate as PEM to send. Nothing else that the file may hold goes along, such as a key.
func pemFile(file string) (string, error) {
	if file == "" {
		return "", usagef("--certificate is missing").advise("name a PEM file with --certificate FILE")
	}
	cert, err := certificateIn(file)
	if err != nil {
		return "", err
	}
	return pemOf(cert), nil
}

func newAuthorityAdd(w *world) *cobra.Command {
	var file string
	var vouch bool
	var out output
	c := &cobra.Command{
		Use: "add AUTHORITY --certificate FILE", Short: "Add an authority, or replace its certificate", Args: cobra.ExactArgs(1),
		Example: `  isthmus hub authority add factory --certificate factory.pem
  isthmus hub authority add factory --certificate factory.pem --vouch`,
	}
	a := toHub(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	c.Flags().StringVar(&file, "certificate", "", "PEM `FILE` with the authority's certificate (required)")
	c.Flags().BoolVar(&vouch, "vouch", false, "say yourself that it is yours, instead of proving it")
	c.RunE = func(c *cobra.Command, args []string) error {
		text, err := pemFile(file)
		if err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
			added, err := hub.AddAuthority(c.Context(), args[0], text, vouch)
			if err != nil {
				return err
			}
			if out.structured() {
				return out.write(w, added)
			}
			w.printf("authority %s added: %s\n", harmless(added.Name), harmless(added.Subject))
			if !added.Verified {
				w.note("it lets nobody in before it is verified: isthmus hub authority challenge %s", added.Name)
			}
			return nil
		})(c, args)
	}
	return c
}

func newAuthorityChallenge(w *world, n *noun[*hubclient.Client, hubclient.Authority]) *cobra.Command {
	c := &cobra.Command{
		Use: "challenge AUTHORITY", Short: "Print the code that proves an authority to be yours", Args: cobra.ExactArgs(1),
		Long: `Print a code. Sign a certificate with the authority's key whose common name is the code, and give it to "isthmus hub authority verify". A new code takes the place
of the one before.`,
		Example: `  isthmus hub authority challenge factory
  openssl req -new -newkey rsa:2048 -nodes -keyout proof.key -subj "/CN=$CODE" | openssl x509 -req -CA factory.pem -CAkey factory.key -days 1 -out proof.pem`,
	}
	a := toHub(w, c)
	c.ValidArgsFunction = n.complete(a, false)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		text, err := hub.ChallengeAuthority(c.Context(), args[0])
		if err == nil {
			w.printf("%s\n", harmless(text))
		}
		return err
	})
	return c
}

func newAuthorityVerify(w *world, n *noun[*hubclient.Client, hubclient.Authority]) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "verify AUTHORITY --certificate FILE", Short: "Prove with a signed code that an authority is yours", Args: cobra.ExactArgs(1),
		Example: "  isthmus hub authority verify factory --certificate proof.pem",
	}
	a := toHub(w, c)
	c.Flags().StringVar(&file, "certificate", "", "PEM `FILE` with a certificate whose common name is the code, signed by the authority (required)")
	c.ValidArgsFunction = n.complete(a, false)
	c.RunE = func(c *cobra.Command, args []string) error {
		text, err := pemFile(file)
		if err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
			if _, err := hub.VerifyAuthority(c.Context(), args[0], text); err != nil {
				return err
			}
			w.printf("authority %s verified\n", harmless(args[0]))
			return nil
		})(c, args)
	}
	return c
}
