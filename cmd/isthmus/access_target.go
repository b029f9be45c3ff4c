package main

import (
	"strings"

	"github.com/isthmus-io/isthmus/resource"
)

// targetName is how people name a target: [LOGIN@][TENANT/]NETWORK/NAME, or [LOGIN@]NAME.NETWORK.TENANT.isthmus where a host name is
// wanted.
type targetName struct {
	login, tenant, network, name string
}

// hostSuffix is the last label of the names by which OpenSSH and SOCKS know targets.
const hostSuffix = ".isthmus"

const targetShape = "[TENANT/]NETWORK/NAME, such as plant-7/press-4-ssh"

func parseTarget(text string) (targetName, error) {
	var t targetName
	rest := text
	if login, after, ok := strings.Cut(text, "@"); ok {
		if !resource.ValidLogin(login) || strings.Trim(login, ".") == "" {
			return t, usagef("%q is no account's name", login).advise("write LOGIN@%s", targetShape)
		}
		t.login, rest = login, after
	}
	var parts []string
	if strings.Contains(rest, "/") {
		parts = strings.Split(rest, "/")
	} else { // from the name up
		parts = strings.Split(strings.TrimSuffix(rest, hostSuffix), ".")
		for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
			parts[i], parts[j] = parts[j], parts[i]
		}
	}
	for _, p := range parts {
		if len(parts) > 3 || resource.ValidateName(p) != nil {
			return t, usagef("%q names no target", text).advise("write %s", targetShape)
		}
	}
	t.name = parts[len(parts)-1]
	if len(parts) > 1 {
		t.network = parts[len(parts)-2]
	}
	if len(parts) > 2 {
		t.tenant = parts[0]
	}
	return t, nil
}

// fits tells whether a target's path (ot/plant-7/press-4-ssh) is meant.
func (t targetName) fits(path string) bool {
	p := strings.Split(path, "/")
	return len(p) == 3 && p[2] == t.name && (t.network == "" || p[1] == t.network) && (t.tenant == "" || p[0] == t.tenant)
}

// path is the target's, as far as it was said.
func (t targetName) path() string {
	var parts []string
	for _, p := range []string{t.tenant, t.network, t.name} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "/")
}

// whole tells whether the target is named without anything left out.
func (t targetName) whole() bool { return t.tenant != "" && t.network != "" }

// hostName is the name of a path (ot/plant-7/press-4-ssh) as a host: press-4-ssh.plant-7.ot.isthmus.
func hostName(path string) string {
	p := strings.Split(path, "/")
	for i, j := 0, len(p)-1; i < j; i, j = i+1, j-1 {
		p[i], p[j] = p[j], p[i]
	}
	return strings.Join(p, ".") + hostSuffix
}
