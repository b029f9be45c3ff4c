package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
)

func newAccessCertificate(w *world) *cobra.Command {
	var firstSeen bool
	c := &cobra.Command{
		Use:   "certificate [LOGIN@]TARGET",
		Short: "Make key, certificate and host keys ready for a target, where ssh_config looks for them",
		Long: `Make ready what ssh needs for a target of the protocol ssh that a grant lets you into: a key of this machine, a certificate for it that lives as
long as the grant, and what the machine's own keys must be. What is there and good is kept. The lines that "isthmus access ssh-config" prints run
this before ssh reads the files. TARGET is TENANT/NETWORK/NAME or NAME.NETWORK.TENANT.isthmus.`,
		Example: "  isthmus access certificate service@press-4-ssh.plant-7.ot.isthmus",
		Args:    cobra.ExactArgs(1),
	}
	a := addAccessWay(w, c)
	c.Flags().BoolVar(&firstSeen, "first-seen", false, "only say, by the exit code, whether the machine's key is not known, so that the first one seen is to be remembered")
	c.ValidArgsFunction = a.completeTargets("ssh")
	c.RunE = func(c *cobra.Command, args []string) error {
		t, err := parseTarget(args[0])
		if err != nil {
			return err
		}
		if !t.whole() { // the files' names are made of it
			return usagef("%q leaves out what the file names need", args[0]).advise("write TENANT/NETWORK/NAME or NAME.NETWORK.TENANT%s", hostSuffix)
		}
		s, err := a.open()
		if err != nil {
			return err
		}
		defer s.Close()
		if firstSeen {
			if !s.sshFiles(t.path(), t.login).firstSeen() {
				return errSilent
			}
			return nil
		}
		done := s.wait()
		g, err := s.find(c.Context(), t)
		done()
		if err != nil {
			return err
		}
		_, err = s.ready(c, t, g)
		return err
	}
	return c
}

// program is this one, as other programs start it.
func program() (string, error) {
	me, err := os.Executable()
	return me, fault.Wrap("isthmus.program", fault.Internal, err, "")
}
