package main

import (
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/access/dialer"
	"github.com/isthmus-io/isthmus/resource"
)

func newAccessSSHConfig(w *world) *cobra.Command {
	c := &cobra.Command{
		Use:   "ssh-config [[LOGIN@]TARGET...]",
		Short: "Print lines for ~/.ssh/config, so that ssh, scp, rsync, Ansible and editors come in",
		Long: `Print lines for ~/.ssh/config. With them every program that uses this machine's ssh comes into targets, which it knows as
NAME.NETWORK.TENANT.isthmus: ssh, scp, rsync, git, Ansible, Visual Studio Code. Whatever grant is in force when it connects is used; a key and a
certificate for it are made ready each time. Of an option that is set twice ssh takes the first, so keep the lines in a file of their own and put
"Include isthmus.conf" at the top of ~/.ssh/config.

For each TARGET named, a few lines more say as whom to log in. Without names they are made for all that let you in now and have one account.`,
		Example: `  isthmus access ssh-config > ~/.ssh/isthmus.conf
  isthmus access ssh-config service@ot/plant-7/press-4-ssh
  scp service@press-4-ssh.plant-7.ot.isthmus:/var/log/spindle.log .`,
	}
	a := addAccessWay(w, c)
	c.ValidArgsFunction = a.completeTargets(resource.ProtocolSSH)
	c.RunE = func(c *cobra.Command, args []string) error {
		var named []targetName
		for _, arg := range args {
			t, err := parseTarget(arg)
			if err != nil {
				return err
			}
			named = append(named, t)
		}
		again, err := a.again()
		if err != nil {
			return err
		}
		s, err := a.open()
		if err != nil {
			return err
		}
		defer s.Close()
		hosts, err := s.hosts(c, named)
		if err != nil {
			return err
		}
		text, err := sshConfig(a, again, filepath.Join(s.folder, "ssh"), hosts)
		if err != nil {
			return err
		}
		w.printf("%s", text)
		return nil
	}
	return c
}

// sshHost is a target whose account is known.
type sshHost struct{ host, account string }

// hosts are the targets named, or those of all grants of which the account is clear.
func (s *accessSession) hosts(c *cobra.Command, named []targetName) ([]sshHost, error) {
	var out []sshHost
	done := s.wait()
	defer done()
	for _, t := range named {
		if t.whole() && t.login != "" { // nobody has to be asked
			out = append(out, sshHost{hostName(t.path()), t.login})
			continue
		}
		g, err := s.find(c.Context(), t)
		if err != nil {
			return nil, err
		}
		account, err := accountOf(t.login, g)
		if err != nil {
			return nil, err
		}
		out = append(out, sshHost{hostName(g.Target), account})
	}
	if len(named) > 0 {
		return out, nil
	}
	p, err := s.dialer.Pass(c.Context())
	if err != nil {
		s.w.note("no grant lets you in now; the lines hold for those to come")
		p = dialer.Pass{}
	}
	for _, g := range p.Grants {
		if g.Protocol == resource.ProtocolSSH && len(g.Logins) == 1 {
			out = append(out, sshHost{hostName(g.Target), g.Logins[0]})
		}
	}
	return out, nil
}

// sshConfig is what ~/.ssh/config is given. Of an option said twice ssh takes the first (ssh_config(5)), so accounts come before the
// commands that need them, and the general before what only follows from its absence.
func sshConfig(a *accessWay, again []string, root string, hosts []sshHost) (string, error) {
	me, err := program()
	if err != nil {
		return "", err
	}
	proxy, err := proxyCommand(a, again)
	if err != nil {
		return "", err
	}
	words := []string{shellWord(me), "access", "certificate"}
	for _, word := range again {
		words = append(words, shellWord(word))
	}
	certificate := strings.Join(words, " ")
	below := func(names ...string) string {
		return strings.TrimSuffix(quoted(root), `"`) + "/%h/" + strings.Join(names, "/") + `"`
	}
	var b strings.Builder
	line := func(words ...string) { b.WriteString(strings.Join(words, " ") + "\n") }
	line("# Machines that somebody let you into, as NAME.NETWORK.TENANT" + hostSuffix + ". Made by: isthmus access ssh-config")
	for _, h := range hosts {
		line("Host", h.host)
		line("  User", h.account)
	}
	line(`Match host "*`+hostSuffix+`" exec`, configString(certificate+" "+inShell("%r@%h")))
	line("  IdentityFile", below("%r", "id_ed25519"))
	line("  CertificateFile", below("%r", "id_ed25519-cert.pub"))
	line(`Match host "*`+hostSuffix+`" exec`, configString(certificate+" --first-seen "+inShell("%h")))
	line("  StrictHostKeyChecking accept-new")
	line("Host *" + hostSuffix)
	line("  ProxyCommand", proxy, inShell("%h"))
	line("  IdentitiesOnly yes")
	line("  UserKnownHostsFile", below("seen_hosts"), below("known_hosts"))
	line("  GlobalKnownHostsFile", below("known_hosts"))
	line("  StrictHostKeyChecking yes")
	line("  UpdateHostKeys no")
	line("  CheckHostIP no")
	line("Host *")
	return b.String(), nil
}

// inShell keeps together what ssh puts in a token's place: names come from wherever a host is named, and older ones of ssh do not look
// at them.
func inShell(token string) string {
	if runtime.GOOS == "windows" {
		return `"` + token + `"`
	}
	return "'" + token + "'"
}

// configString is an argument of ssh_config in quotes.
func configString(s string) string {
	return `"` + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `"`, `\"`) + `"`
}
