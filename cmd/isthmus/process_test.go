package main

import (
	"context"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// A server, an agent and a person, each by its command, in one process: what the README's first ten minutes are.
func TestServerAgentAndPerson(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir := t.TempDir()
	env := map[string]string{"ISTHMUS_CONFIG": filepath.Join(dir, "contexts.yaml")}
	person := func(in string, args ...string) string {
		t.Helper()
		w, out, errs := testWorld(env)
		w.in = strings.NewReader(in)
		if code := run(t.Context(), w, args); code != exitDone {
			t.Fatalf("isthmus %s: code %d\n%s", strings.Join(args, " "), code, errs)
		}
		return out.String()
	}
	process := func(args ...string) (out, errs *screen, stop func()) {
		w, out, errs := testWorld(env)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan int, 1)
		go func() { done <- run(ctx, w, args) }()
		return out, errs, func() {
			cancel()
			if code := <-done; code != exitDone {
				t.Errorf("isthmus %s ended with %d\n%s", strings.Join(args, " "), code, errs)
			}
		}
	}

	out, errs, stopServer := process("server", "--data-dir", filepath.Join(dir, "server"), "--listen", "127.0.0.1:0")
	defer stopServer()
	_, token, _ := strings.Cut(strings.TrimSpace(out.await("administrator token: ")), ": ")
	pin := regexp.MustCompile(`[0-9a-f]{64}`).FindString(errs.await("Fingerprint"))
	address := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(errs.String())

	person(token+"\n", "login", "--server", address, "--pin", pin)
	person("apiVersion: isthmus/v1\nkind: Tenant\nmetadata: {name: ot}\n---\napiVersion: isthmus/v1\nkind: Network\nmetadata: {tenant: ot, name: plant-7}\n",
		"apply", "-f", "-", "--reason", "the first day")
	paste := strings.Split(person("", "token", "join", "--for", "agent", "--network", "ot/plant-7", "--name", "gw-1"), "\n")
	if paste[0] != "isthmus agent join --token-file - <<'END'" || paste[2] != "END" {
		t.Fatalf("got %q", paste)
	}
	agentDir := filepath.Join(dir, "agent")
	person(paste[1]+"\n", "agent", "join", "--token-file", "-", "--data-dir", agentDir, "--name", "gw-1")

	_, agentErrs, stopAgent := process("agent", "run", "--data-dir", agentDir)
	defer stopAgent()
	agentErrs.await("carrying out a plan")
	person("apiVersion: isthmus/v1\nkind: Bridge\nmetadata: {tenant: ot, network: plant-7, name: telemetry}\n"+
		"spec: {agent: gw-1, source: {endpoint: contoso}, destination: {disk: {folder: /srv/lake, path: t}}}\n", "apply", "-f", "-")
	agentErrs.await("bridges=1")
	w, _, carried := testWorld(env)
	if run(t.Context(), w, []string{"bridge", "dead-letters", "list", "--data-dir", agentDir}); !strings.Contains(carried.String(), "ot/plant-7/telemetry") { // it waits for its end
		t.Errorf("the agent does not carry the bridge that names it: %s", carried)
	}
	if got := person("", "agent", "token", "--data-dir", agentDir, "--host", "lake.servicebus.windows.net", "--json"); !strings.Contains(got, `/network/plant-7/agent/gw-1.`) || !strings.Contains(got, `"token":"ey`) {
		t.Error("the agent's token is none, or another's")
	}
	watched, _, stopWatching := process("get", "agents", "--watch", "-o", "json", "--interval", "100ms")
	defer stopWatching()
	watched.await(`"connected":true`)
	if got := person("", "get", "agents"); !strings.Contains(got, "ot/plant-7/gw-1  agent  connected") {
		t.Errorf("got\n%s", got)
	}
	if got := person("", "audit", "list", "agent", "ot/plant-7/gw-1"); !strings.Contains(got, "enrol") {
		t.Errorf("got\n%s", got)
	}
}
