package main

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/access/dialer"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func newSSH(w *world) *cobra.Command {
	var (
		asking  accessAsking
		account string
	)
	c := &cobra.Command{
		Use:   "ssh [LOGIN@]TARGET [-- SSH-ARGUMENTS...]",
		Short: "Log in to a machine that somebody let you into",
		Long: `Log in by SSH to a target, [TENANT/]NETWORK/NAME, that a grant lets you into. This machine's own ssh does it, with a key made here and a certificate
that names you and lives as long as the grant; the machine trusts the tenant's authority and holds no key of yours. What stands behind -- is for
ssh: options, a command. The exit code is ssh's.

Without a grant it says what to type to ask for one; with --reason it asks, waits for the answer and goes on.`,
		Example: `  isthmus ssh service@plant-7/press-4-ssh
  isthmus ssh ot/plant-7/press-4-ssh --reason "spindle 2 trips, ticket 4711" --for 2h
  isthmus ssh plant-7/press-4-ssh -- -L 8080:localhost:80
  isthmus ssh plant-7/press-4-ssh -- uptime`,
		Args: cobra.MinimumNArgs(1),
	}
	a := addAccessWay(w, c)
	asking.addTo(c)
	c.Flags().StringVarP(&account, "login", "l", "", "`ACCOUNT` of the machine; the target's, or your own name, when absent")
	c.ValidArgsFunction = a.completeTargets(resource.ProtocolSSH)
	c.RunE = func(c *cobra.Command, args []string) error {
		if dash := c.ArgsLenAtDash(); len(args) > 1 && dash != 1 {
			return usagef("%q stands where nothing belongs", args[1]).advise("put what is for ssh behind --: isthmus ssh %s -- %s", args[0], strings.Join(args[1:], " "))
		}
		if err := asking.check(c); err != nil {
			return err
		}
		t, err := parseTarget(args[0])
		if err != nil {
			return err
		}
		if account != "" {
			if t, err = parseTarget(account + "@" + t.path()); err != nil {
				return err
			}
		}
		again, err := a.again()
		if err != nil {
			return err
		}
		program, err := exec.LookPath("ssh")
		if err != nil {
			return fault.New("isthmus.ssh", fault.NotFound, "this machine has no ssh, or not where programs are looked for").Because(err).
				Advise("install OpenSSH's client: openssh-client, or the optional feature OpenSSH Client of Windows")
		}
		s, err := a.open()
		if err != nil {
			return err
		}
		defer s.Close()
		g, err := asking.letIn(c.Context(), s, t)
		if err != nil {
			return err
		}
		f, err := s.ready(c, t, g)
		if err != nil {
			return err
		}
		options, err := f.options(a, again)
		if err != nil {
			return err
		}
		return become(program, append(options, args[1:]...))
	}
	return c
}

// ready prepares the files for logging in to a target.
func (s *accessSession) ready(c *cobra.Command, t targetName, g dialer.PassGrant) (sshFiles, error) {
	if g.Protocol != resource.ProtocolSSH {
		return sshFiles{}, fault.Newf("isthmus.ssh", fault.Invalid, "%s speaks %s, not ssh", g.Target, first(string(g.Protocol), "tcp")).
			Advise("make it reachable here: isthmus connect %s --local 127.0.0.1:0", g.Target)
	}
	account, err := accountOf(t.login, g)
	if err != nil {
		return sshFiles{}, err
	}
	f := s.sshFiles(g.Target, account)
	return f, f.prepare(c.Context(), s, g)
}

// options are what ssh is told.
func (f sshFiles) options(a *accessWay, again []string) ([]string, error) {
	proxy, err := proxyCommand(a, again)
	if err != nil {
		return nil, err
	}
	strict, hosts := "yes", quoted(f.known())
	if f.firstSeen() {
		strict, hosts = "accept-new", quoted(f.seen())
	}
	var out []string
	for _, o := range []string{
		"ProxyCommand=" + proxy + " " + f.host,
		"IdentityFile=" + quoted(f.key()), "CertificateFile=" + quoted(f.certificate()), "IdentitiesOnly=yes",
		"HostKeyAlias=" + f.host, "UserKnownHostsFile=" + hosts, "GlobalKnownHostsFile=" + quoted(f.known()),
		"StrictHostKeyChecking=" + strict, "UpdateHostKeys=no", "CheckHostIP=no", "CanonicalizeHostname=no",
	} {
		out = append(out, "-o", o)
	}
	return append(out, "-l", f.login, f.host), nil
}

// proxyCommand is the command, without the target, by which ssh comes in.
func proxyCommand(a *accessWay, again []string) (string, error) {
	me, err := os.Executable()
	if err != nil {
		return "", fault.Wrap("isthmus.ssh", fault.Internal, err, "")
	}
	words := []string{me, "access", "proxy"}
	if a.verbose {
		words = append(words, "--verbose")
	}
	words = append(words, again...)
	for i := range words {
		words[i] = shellWord(words[i])
	}
	return strings.Join(words, " "), nil
}

// shellWord is a word as the shell reads it that ssh starts commands with, and as ssh reads it before: a % of one's own is two.
func shellWord(s string) string {
	s = strings.ReplaceAll(s, "%", "%%")
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./:=,%+@", r) && (r != '\\' || runtime.GOOS != "windows")
	}) {
		return s
	}
	if runtime.GOOS == "windows" {
		return `"` + s + `"`
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// quoted is a path as ssh_config reads it.
func quoted(path string) string {
	return `"` + strings.ReplaceAll(strings.ReplaceAll(path, "%", "%%"), `"`, `\"`) + `"`
}

// exitCode is the end of a program that was started in this one's place.
type exitCode int

func (e exitCode) Error() string { return "the program ended with code " + itoa(int(e)) }

// codeOf returns the exit code that an error stands for.
func codeOf(err error) (int, bool) {
	e, ok := errors.AsType[exitCode](err)
	return int(e), ok
}
