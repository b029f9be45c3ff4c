package main

import "github.com/spf13/cobra"

func newAccessAuthority(w *world) *cobra.Command {
	var out output
	var tenant string
	var hosts bool
	c := &cobra.Command{
		Use: "authority", Short: "Print what a machine's sshd has to trust", Args: cobra.NoArgs,
		Long: `Print the public key of your tenant's SSH authority. With it in the file that TrustedUserCAKeys of sshd_config names, stock sshd lets in whoever has a grant, and
nobody's key has to lie on the machine. With --hosts the one that certifies the host keys of agents that record sessions is printed, as known_hosts takes it.`,
		Example: `  isthmus access authority > /etc/ssh/isthmus_users.pub
  echo 'TrustedUserCAKeys /etc/ssh/isthmus_users.pub' > /etc/ssh/sshd_config.d/isthmus.conf`,
	}
	n := addConnection(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	c.Flags().StringVarP(&tenant, "tenant", "t", "", "the `TENANT`; your own when absent")
	c.Flags().BoolVar(&hosts, "hosts", false, "the authority for host keys, as a line of known_hosts")
	c.RunE = n.asking(func(c *cobra.Command, s *session, _ []string) error {
		a, err := s.SSHAuthority(c.Context(), first(tenant, s.tenant))
		switch {
		case err != nil:
			return err
		case out.structured():
			return out.write(w, a)
		case hosts:
			w.printf("@cert-authority *.%s%s %s\n", a.Tenant, hostSuffix, a.Hosts)
		default:
			w.printf("%s\n", a.Users)
		}
		return nil
	})
	return c
}
