package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// eventHubs is a hub process with a namespace of event hubs and a hub.
type eventHubs struct{}

func (eventHubs) name() string    { return "isthmus" }
func (eventHubs) needs() []string { return []string{"go"} }
func (eventHubs) start(context.Context, string, *processes) (way, error) {
	return way{}, nil // see serve
}

func (eventHubs) serve(ctx context.Context, dir string, p *processes) (*bus, error) {
	o, err := startEvents(ctx, p, "events", dir, topics())
	if err != nil {
		return nil, err
	}
	partitions := func(hub string) (out []string) {
		for i := range eventPartitions {
			out = append(out, fmt.Sprintf("%s/ConsumerGroups/$Default/Partitions/%d", hub, i))
		}
		return out
	}
	return &bus{
		secure:  door{Addr: o.AMQP, CA: o.CA, Host: eventsHost, User: o.Policy, Key: o.Key},
		plain:   door{Addr: o.Plain, Host: eventsHost, User: o.Policy, Key: o.Key},
		target:  func(topic string) string { return topic },
		sources: partitions, onlyNew: "amqp.annotation.x-opt-offset > '@latest'", keeps: true, batches: true, sdk: true, links: true,
		hub: &deviceBus{
			mqtt: o.MQTT, amqp: o.AMQP, sources: partitions(o.Builtin),
			reader: door{Addr: o.AMQP, CA: o.CA, Host: hubHost, User: o.HubPolicy, Key: o.HubKey},
		},
	}, nil
}

// startEvents starts a hub process with event hubs.
func startEvents(ctx context.Context, p *processes, role, dir string, hubs []string) (o eventOffer, err error) {
	_, out, err := p.half(ctx, role, append([]string{"serve", "events", dir}, hubs...)...)
	if err != nil {
		return o, err
	}
	line, err := out.ReadBytes('\n')
	if err != nil {
		return o, err
	}
	return o, json.Unmarshal(line, &o)
}

// half starts this program again as a part of the subject that ends with its standard input, so that a profile can be written.
func (p *processes) half(ctx context.Context, role string, args ...string) (io.WriteCloser, *bufio.Reader, error) {
	cmd, err := program(ctx, "", args...)
	if err != nil {
		return nil, nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	p.running = append(p.running, &process{role, cmd})
	p.ending = append(p.ending, func() {
		in.Close()
		over := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		over.Stop()
	})
	return in, bufio.NewReader(pipe), nil
}

// rabbitMQ is Debian's, a node of its own for the run, with the plugin for AMQP 1.0. kind is that of its queues.
type rabbitMQ struct{ kind string }

const rabbitServer = "/usr/lib/rabbitmq/bin/rabbitmq-server"

func (r rabbitMQ) name() string  { return "rabbitmq " + r.kind }
func (rabbitMQ) needs() []string { return []string{rabbitServer, "epmd", "erl"} }
func (rabbitMQ) start(context.Context, string, *processes) (way, error) {
	return way{}, nil // see serve
}

func (r rabbitMQ) serve(ctx context.Context, dir string, p *processes) (*bus, error) {
	if err := writeCertificate(dir); err != nil {
		return nil, err
	}
	var addr [4]string // AMQP with TLS, AMQP, what nodes speak, their names
	for i := range addr {
		var err error
		if addr[i], err = freePort(); err != nil {
			return nil, err
		}
	}
	definitions, err := r.definitions()
	if err != nil {
		return nil, err
	}
	for name, text := range map[string]string{
		"definitions.json": definitions, "enabled_plugins": "[rabbitmq_amqp1_0].\n",
		"rabbitmq.conf": fmt.Sprintf("listeners.ssl.default = %s\nlisteners.tcp.default = %s\nssl_options.cacertfile = %[3]s/ca.pem\nssl_options.certfile = %[3]s/server.pem\nssl_options.keyfile = %[3]s/server.key\n"+
			"ssl_options.versions.1 = tlsv1.3\nload_definitions = %[3]s/definitions.json\nlog.file = false\nlog.console = true\nlog.console.level = error\n", addr[0], addr[1], dir),
	} {
		if _, err := p.file(name, text); err != nil {
			return nil, err
		}
	}
	env := []string{
		"HOME=" + dir, "RABBITMQ_NODENAME=isthmus-bench@localhost", "RABBITMQ_MNESIA_BASE=" + filepath.Join(dir, "data"), "RABBITMQ_LOG_BASE=" + filepath.Join(dir, "log"),
		"RABBITMQ_CONFIG_FILE=" + filepath.Join(dir, "rabbitmq.conf"), "RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(dir, "enabled_plugins"), "RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_DIST_PORT=" + portOf(addr[2]), "ERL_EPMD_PORT=" + portOf(addr[3]), "ERL_EPMD_ADDRESS=127.0.0.1", "NOTIFY_SOCKET=",
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
		"detached=1", // the script becomes the server, which then ends with us
	}
	// One that is there already is not started by the server, as a daemon.
	names := &processes{dir: dir}
	if _, err := names.runEnv(ctx, env, "epmd", "epmd"); err != nil {
		return nil, err
	}
	p.undo = append(p.undo, names.stop)
	if err := waitListening(ctx, addr[3]); err != nil {
		return nil, err
	}
	if _, err := p.runEnv(ctx, env, "rabbitmq", rabbitServer); err != nil {
		return nil, err
	}
	if err := waitListeningFor(ctx, addr[0], time.Minute); err != nil {
		return nil, err
	}
	queue := func(topic string) string { return "/amq/queue/" + topic }
	return &bus{
		secure: door{Addr: addr[0], CA: filepath.Join(dir, "ca.pem"), Host: hubHost, User: "bench", Key: "bench"},
		plain:  door{Addr: addr[1], Host: hubHost, User: "bench", Key: "bench"},
		target: queue,
		sources: func(topic string) (out []string) {
			for range eventPartitions {
				out = append(out, queue(topic))
			}
			return out
		},
		links: r.kind == "classic",
		// A reader with this plugin gets nothing of what was there before it, and stops in between.
		unread: r.kind == "stream",
	}, nil
}

// definitions are the user and the queues, all durable.
func (r rabbitMQ) definitions() (string, error) {
	const salt = "salt"
	sum := sha256.Sum256([]byte(salt + "bench"))
	type object = map[string]any
	arguments := object{}
	if r.kind != "classic" {
		arguments["x-queue-type"] = r.kind
	}
	var queues []object
	for _, t := range topics() {
		queues = append(queues, object{"name": t, "vhost": "/", "durable": true, "auto_delete": false, "arguments": arguments})
	}
	text, err := json.Marshal(object{
		"users": []object{{
			"name": "bench", "password_hash": base64.StdEncoding.EncodeToString(append([]byte(salt), sum[:]...)), "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": "",
		}},
		"vhosts":      []object{{"name": "/"}},
		"permissions": []object{{"user": "bench", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}},
		"queues":      queues,
	})
	return string(text), err
}

// eventLoad builds the load that stands on Azure's libraries, which are no part of this module. Where they cannot be had its figures are left
// out, and that is said once.
func (b *binaries) eventLoad(ctx context.Context) (string, error) {
	if b.events != "" || b.noEvents {
		return b.events, nil
	}
	if err := b.folder(); err != nil {
		return "", err
	}
	out := filepath.Join(b.dir, "load")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, "./load")
	cmd.Dir = filepath.Join("test", "eventhubs", "go")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		b.noEvents = true
		fmt.Fprintf(os.Stderr, "\nleft out: what is sent and read with Azure's libraries (test/eventhubs/go/load cannot be built: %v: %s)\n", err, strings.TrimSpace(string(text)))
		return "", nil
	}
	b.events = out
	return out, nil
}
