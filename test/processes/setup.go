package processes

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
)

// Control is a running control plane and the command line logged in to it.
type Control struct {
	*Process
	Address    string
	AdminToken string
}

// StartControl starts a server and logs the command line in as its administrator.
func (d *Deployment) StartControl(ctx context.Context, netns, listen, advertise string, more ...string) (*Control, error) {
	args := append([]string{"server", "--data-dir", filepath.Join(d.Dir, "server"), "--listen", listen, "--advertise", advertise}, more...)
	p, err := d.Start("server", netns, nil, args...)
	if err != nil {
		return nil, err
	}
	line, err := p.WaitLog(ctx, "administrator token:")
	if err != nil {
		return nil, err
	}
	c := &Control{Process: p, AdminToken: strings.TrimSpace(line[strings.Index(line, ":")+1:])}
	if line, err = p.WaitLog(ctx, "the control plane is ready"); err != nil {
		return nil, err
	}
	c.Address = logValue(line, "address")
	if _, err := d.CLI(ctx, netns, c.AdminToken+"\n", "login", "--server", "https://"+c.Address, "--token-file", "-", "--ca-file", filepath.Join(d.Dir, "server", "ca.pem")); err != nil {
		return nil, err
	}
	return c, nil
}

// Join makes a join token where the command line works (ctlNS) and joins a role's directory with it, in netns. role is agent, hub or
// relay; network is empty for a relay.
func (d *Deployment) Join(ctx context.Context, ctlNS, netns, role, network, name string, more ...string) error {
	token, err := d.JoinToken(ctx, ctlNS, role, network)
	if err != nil {
		return err
	}
	args := append([]string{role, "join", "--data-dir", d.Data(name), "--name", name, "--token-file", "-"}, more...)
	_, err = d.CLI(ctx, netns, token, args...)
	return err
}

// JoinToken makes a join token where the command line works.
func (d *Deployment) JoinToken(ctx context.Context, ctlNS, role, network string) (string, error) {
	args := []string{"token", "join", "--for", role, "-o", "json"}
	if network != "" {
		args = append(args, "--network", network)
	}
	out, err := d.CLI(ctx, ctlNS, "", args...)
	if err != nil {
		return "", err
	}
	var token struct{ Secret string }
	if err := json.Unmarshal([]byte(out), &token); err != nil {
		return "", fmt.Errorf("isthmus token join -o json: %w", err)
	}
	return token.Secret, nil
}

// Data is the data directory of a joined process.
func (d *Deployment) Data(name string) string { return filepath.Join(d.Dir, name) }

// logValue takes key=value out of a line of slog's text format.
func logValue(line, key string) string {
	_, rest, ok := strings.Cut(line, " "+key+"=")
	if !ok {
		return ""
	}
	v, _, _ := strings.Cut(rest, " ")
	return strings.Trim(v, `"`)
}

// FreePort asks the kernel for a loopback address nobody listens on.
func FreePort(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("no free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
