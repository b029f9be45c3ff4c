package httpdoor_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/fault"
)

func TestAccessRoutes(t *testing.T) {
	f := newFake()
	h := door(f)
	for _, c := range []struct {
		method, path, body string
		status             int
		reply              string
	}{
		{"POST", "/v1/access/grants", `{"target":"ot/plant-7/press-ssh","reason":"spindle","for":"2h","ask":["erin"],"from":"2026-11-23T09:00:00Z"}`, 201, `"id":"g1"`},
		{"POST", "/v1/access/grants", `{"target":"ot/plant-7/press-ssh","reason":"spindle","for":"soon"}`, 400, `for \"soon\" is not a duration`},
		{"POST", "/v1/access/grants", `{"target":"ot/plant-7/press-ssh","reason":"spindle","for":"-2h"}`, 400, `is not a duration`},
		{"POST", "/v1/access/grants", `{"target":"ot/plant-7/press-ssh","reson":"spindle"}`, 400, `did you mean reason?`},
		{"GET", "/v1/access/grants?open=true&target=ot/plant-7/press-ssh&limit=5", "", 200, `{"items":[]}`},
		{"GET", "/v1/access/grants?state=Eaten", "", 400, `state`},
		{"GET", "/v1/access/grants/g7?wait=10m", "", 200, `"id":"g7"`},
		{"POST", "/v1/access/grants/g7/extend", `{"why":"more","for":"30m"}`, 200, `"id":"g7"`},
		{"POST", "/v1/access/grants/g7/eat", `{}`, 400, `decision`},
		{"POST", "/v1/access/passes", `{"csr":"pem","grants":["g7"]}`, 201, `"certificate":"a pass"`},
		{"POST", "/v1/access/ssh-certificates", `{"grant":"g7","publicKey":"k","login":"service"}`, 201, `certificate of service`},
		{"GET", "/v1/access/authority?tenant=ot", "", 200, `"users":"ssh-ed25519 AAAA"`},
		{"GET", "/v1/access/why?target=ot/plant-7/press-ssh&person=alice", "", 200, `"steps":[]`},
		{"GET", "/v1/access/sessions?open=true&refused=true", "", 200, `{"items":[]}`},
		{"GET", "/v1/access/sessions/s1/recording", "", 200, `recording of s1`},
		{"GET", "/v1/access/webhooks", "", 200, `{"items":[]}`},
		{"POST", "/v1/access/webhooks", `{"url":"https://chat.example.net/x","events":["deny"]}`, 201, `"secret":"webhook-secret"`},
		{"POST", "/v1/access/webhooks/w1/test", `{}`, 204, ``},
		{"POST", "/v1/access/webhooks/w1/test", `{"now":true}`, 400, `there is no field now`},
		{"DELETE", "/v1/access/webhooks/w1", "", 204, ``},
	} {
		resp, body := ask(t, h, c.method, c.path, c.body)
		if resp.StatusCode != c.status || !strings.Contains(body, c.reply) {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.path, resp.StatusCode, body, c.status, c.reply)
		}
	}
	a := f.asked
	if a.request.For != 2*time.Hour || a.request.Ask[0] != "erin" || a.request.From.IsZero() || !a.grants.Open || a.grants.Limit != 5 || a.waited != 50*time.Second ||
		len(a.decided) != 1 || a.decided[0] != "g7 extend more 30m0s" || a.pass.Grants[0] != "g7" || !a.sessions.Open || !a.sessions.Refused || a.question.Person != "alice" || a.webhook.Events[0] != "deny" {
		t.Errorf("%+v", a)
	}
	if len(f.deleted) != 2 || f.deleted[0] != "tested w1" || f.deleted[1] != "webhook w1" {
		t.Errorf("%v", f.deleted)
	}
	for id, media := range map[string]string{"s1": "application/x-asciicast", "sealed": "application/vnd.isthmus.recording"} {
		if resp, _ := ask(t, h, "GET", "/v1/access/sessions/"+id+"/recording", ""); resp.Header.Get("Content-Type") != media {
			t.Errorf("%s: %v", id, resp.Header)
		}
	}
	f.failing(fault.New("fake", fault.Exhausted, "too often").Because(&control.TooOften{Wait: 7 * time.Second}))
	if resp, body := ask(t, h, "POST", "/v1/access/grants", `{"target":"ot/plant-7/press-ssh","reason":"spindle"}`); resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "7" || !strings.Contains(body, `"kind":"exhausted"`) {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
}

func contentDigest(b string) string {
	sum := sha256.Sum256([]byte(b))
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

func TestLeadersRoutes(t *testing.T) {
	s := serve(t)
	f, tool := s.fake, s.as(s.authority, gateway, time.Hour)
	do := func(method, path, body string, header ...string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, "https://"+s.address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := tool.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	session := strings.Repeat("ab", 16)
	record, _ := json.Marshal(map[string]any{"records": []map[string]any{{"session": session, "phase": "opened", "at": "2026-11-22T03:00:00Z"}}})
	if status, body := do("POST", "/member/v1/access/sessions", string(record)); status != 204 || len(f.asked.records) != 1 || f.asked.records[0].Session != session {
		t.Errorf("%d %s %+v", status, body, f.asked.records)
	}
	if status, body := do("POST", "/member/v1/access/session-certificates", `{"grant":"g1","session":"`+session+`","publicKey":"k","login":"service"}`); status != 201 || !strings.Contains(body, session) {
		t.Errorf("%d %s", status, body)
	}
	if status, body := do("POST", "/member/v1/access/host-certificates", `{"publicKey":"k"}`); status != 201 || !strings.Contains(body, "certificate of k") {
		t.Errorf("%d %s", status, body)
	}
	content := strings.Repeat("recorded ", 200_000) // more than any JSON may have
	sum := sha256.Sum256([]byte(content))
	status, body := do("PUT", "/member/v1/access/recordings/"+session, content, "Content-Digest", "md5=:x:, "+contentDigest(content), "Content-Type", "application/octet-stream")
	if status != 204 || f.asked.recording != session+" "+hex.EncodeToString(sum[:])+" "+content {
		t.Errorf("%d %s, %d bytes", status, body, len(f.asked.recording))
	}
	for _, digest := range []string{"", "sha-256=:AAAA:", "sha-256=" + hex.EncodeToString(sum[:]), "sha-512=:AAAA:"} {
		if status, body := do("PUT", "/member/v1/access/recordings/"+session, "x", "Content-Digest", digest); status != 400 || !strings.Contains(body, "no SHA-256") {
			t.Errorf("%q: %d %s", digest, status, body)
		}
	}
	f.failing(fault.New("fake", fault.Unauthenticated, "was deleted"))
	if status, _ := do("POST", "/member/v1/access/sessions", string(record)); status != 403 {
		t.Errorf("a removed member gets %d", status)
	}
}
