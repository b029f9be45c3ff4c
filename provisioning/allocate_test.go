package provisioning_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning"
	pt "github.com/isthmus-io/isthmus/provisioning/provisioningtest"
)

func symmetric(id, more string) string {
	return `{"registrationId":"` + id + `","attestation":{"type":"symmetricKey"}` + more + `}`
}

// Hashed allocation spreads devices by weight, and moves only those that a new hub takes over.
func TestHashedAllocation(t *testing.T) {
	w := start(t)
	w.PutGroup(line)
	if err := w.Service.WeighHub(t.Context(), pt.HubB, 3); err != nil {
		t.Fatal(err)
	}
	const n = 100
	at := map[string]string{}
	all := func() (moved map[string]int, count map[string]int) {
		moved, count = map[string]int{}, map[string]int{}
		for i := range n {
			id := fmt.Sprint("d", i)
			key, _ := provisioning.DeriveKey(groupKey, id)
			o := w.Register(keyed(w, id, key), provisioning.Registration{})
			if before, ok := at[id]; ok && before != o.State.AssignedHub {
				moved[o.State.AssignedHub]++
			}
			at[id] = o.State.AssignedHub
			count[at[id]]++
		}
		return moved, count
	}
	_, count := all()
	if b := count[pt.HubB]; b < n*55/100 || b > n*95/100 {
		t.Errorf("of %d devices %d are at the hub with weight 3 of 4", n, b)
	}
	w.Hubs.Add("c.azure-devices.net")
	moved, count := all()
	if len(moved) != 1 || moved["c.azure-devices.net"] != count["c.azure-devices.net"] || count["c.azure-devices.net"] < n/10 {
		t.Errorf("moved %v, now %v", moved, count)
	}
}

func TestOtherAllocations(t *testing.T) {
	latency := map[string]time.Duration{pt.HubA: 40 * time.Millisecond, pt.HubB: 2 * time.Millisecond}
	w := pt.Start(t, pt.Options{Change: func(c *provisioning.Config) {
		c.Latency = func(host string) (time.Duration, bool) { l, ok := latency[host]; return l, ok }
	}})
	w.Hubs.Add("c.azure-devices.net")
	if err := w.Service.WeighHub(t.Context(), "c.azure-devices.net", 0); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		more, hub string
		code      provisioning.Code
	}{
		{`,"allocationPolicy":"static","iotHubHostName":"A.azure-devices.net"`, pt.HubA, 0},
		{`,"allocationPolicy":"static","iotHubs":["b.azure-devices.net"]`, pt.HubB, 0},
		{`,"allocationPolicy":"static","iotHubHostName":"c.azure-devices.net"`, "c.azure-devices.net", 0},
		{`,"allocationPolicy":"static","iotHubHostName":"nobody.azure-devices.net"`, "", provisioning.NoHub},
		{`,"allocationPolicy":"geoLatency"`, pt.HubB, 0},
		{`,"allocationPolicy":"geolatency","iotHubs":["a.azure-devices.net"]`, pt.HubA, 0},
		{`,"allocationPolicy":"hashed","iotHubs":["b.azure-devices.net","nobody.azure-devices.net"]`, pt.HubB, 0},
		{`,"iotHubs":["nobody.azure-devices.net"]`, "", provisioning.NoHub},
		{`,"iotHubs":["c.azure-devices.net"]`, "", provisioning.NoHub}, // of no weight
	} {
		id := fmt.Sprint("d", i)
		w.Put(symmetric(id, c.more))
		o := w.Register(own(w, id), provisioning.Registration{})
		if o.State.AssignedHub != c.hub || o.State.ErrorCode != int(c.code) || (o.Status == provisioning.Failed) != (c.code != 0) {
			t.Errorf("%s: %+v", c.more, o.State)
		}
	}
}

// C54 and C56: what a webhook is sent, and what becomes of its answer.
func TestAWebhookChooses(t *testing.T) {
	var asked map[string]json.RawMessage
	answer := `{"iotHubHostName":"B.azure-devices.net","initialTwin":{"tags":{"by":"hook"},"properties":{"desired":{"v":2}}},"payload":{"greeting":"grüß"}}`
	hook := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != "POST" || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") || r.URL.RawQuery != "code=secretcode" {
			t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
		b, _ := io.ReadAll(r.Body)
		asked = nil
		if err := json.Unmarshal(b, &asked); err != nil {
			t.Errorf("%s: %v", b, err)
		}
		if strings.Contains(string(b), groupKey) || strings.Contains(string(b), otherKey) {
			t.Error("a key is sent to the webhook")
		}
		_, _ = io.WriteString(rw, answer)
	}))
	t.Cleanup(hook.Close)
	w := pt.Start(t, pt.Options{Change: func(c *provisioning.Config) { c.LoopbackWebhooks = true }})
	custom := `"allocationPolicy":"custom","customAllocationDefinition":{"webhookUrl":"` + hook.URL + `/api/x?code=secretcode","apiVersion":"2019-03-31"}`
	w.PutGroup(strings.Replace(line, `{"enr`, `{`+custom+`,"enr`, 1))
	key, _ := provisioning.DeriveKey(groupKey, "d")
	o := w.Register(keyed(w, "d", key), provisioning.Registration{Payload: json.RawMessage(`{"model":"x1"}`)})
	if o.State.AssignedHub != pt.HubB || string(o.State.Payload) != `{"greeting":"grüß"}` {
		t.Errorf("%+v", o.State)
	}
	if d, _ := w.Hubs.Get(pt.HubB).Device("d"); string(d.Twin.Tags) != `{"by":"hook"}` || string(d.Twin.Desired) != `{"v":2}` {
		t.Errorf("%+v", d)
	}
	if got, want := string(asked["deviceRuntimeContext"]), `{"registrationId":"d","symmetricKey":{},"payload":{"model":"x1"}}`; got != want {
		t.Errorf("%s", got)
	}
	if string(asked["linkedHubs"]) != `["`+pt.HubA+`","`+pt.HubB+`"]` || !strings.Contains(string(asked["enrollmentGroup"]), `"enrollmentGroupId":"line"`) || asked["individualEnrollment"] != nil {
		t.Errorf("%s", asked)
	}
	w.Register(keyed(w, "d", key), provisioning.Registration{})
	if !strings.Contains(string(asked["deviceRuntimeContext"]), `"currentIotHubHostName":"`+pt.HubB+`","currentDeviceId":"d"`) {
		t.Errorf("again: %s", asked["deviceRuntimeContext"])
	}
}

func TestWebhooksThatFail(t *testing.T) {
	release := make(chan struct{})
	elsewhere := 0
	mux := http.NewServeMux()
	for path, answer := range map[string]string{
		"/nobody": `{"iotHubHostName":"nobody.azure-devices.net"}`, "/empty": ``, "/text": `hello`, "/none": `{}`, "/long": `{"iotHubHostName":"` + strings.Repeat("x", 70_000) + `"}`,
		"/twin": `{"iotHubHostName":"` + pt.HubA + `","initialTwin":{"tags":7}}`, "/payload": `{"iotHubHostName":"` + pt.HubA + `","payload":"` + strings.Repeat("x", 20_000) + `"}`,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })
	}
	mux.HandleFunc("/500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { elsewhere++ })
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	hook, secure := httptest.NewServer(mux), httptest.NewTLSServer(mux)
	t.Cleanup(func() { close(release); hook.Close(); secure.Close() })
	for _, c := range []struct {
		url      string
		loopback bool
	}{
		{hook.URL + "/nobody", true}, {hook.URL + "/empty", true}, {hook.URL + "/text", true}, {hook.URL + "/none", true}, {hook.URL + "/long", true}, {hook.URL + "/twin", true},
		{hook.URL + "/payload", true}, {hook.URL + "/500", true}, {hook.URL + "/redirect", true}, {hook.URL + "/slow", true}, {hook.URL + "/404?code=secretcode", true},
		{secure.URL + "/nobody", true}, // its authority is not trusted
		{secure.URL + "/nobody", false}, {hook.URL + "/nobody", false}, {"https://169.254.169.254/metadata", true}, {"https://[::]/", true}, {"http://192.0.2.1/", true},
	} {
		w := pt.Start(t, pt.Options{Change: func(cfg *provisioning.Config) {
			cfg.LoopbackWebhooks, cfg.WebhookTimeout = c.loopback, 300*time.Millisecond
		}})
		w.Put(symmetric("d", `,"allocationPolicy":"custom","customAllocationDefinition":{"webhookUrl":"`+c.url+`","apiVersion":"2019-03-31"}`))
		o := w.Register(own(w, "d"), provisioning.Registration{})
		if o.Status != provisioning.Failed || o.State.ErrorCode != int(provisioning.WebhookFailed) || o.State.ErrorMessage == "" || strings.Contains(o.State.ErrorMessage, "secretcode") {
			t.Errorf("%s: %+v", c.url, o.State)
		}
		w.Stop()
		if strings.Contains(w.Log.String(), "secretcode") {
			t.Errorf("%s: the log has the function's key", c.url)
		}
	}
	if elsewhere != 0 {
		t.Error("a redirect was followed")
	}
}

func TestLinkedHubs(t *testing.T) {
	w, ctx := start(t), t.Context()
	for text, want := range map[string]fault.Kind{
		"hello": fault.Invalid, "HostName=x;DeviceId=d;SharedAccessKey=" + otherKey: fault.Invalid,
		"HostName=y;SharedAccessKeyName=iothubowner;SharedAccessKey=" + otherKey: fault.Invalid,
		"HostName=x;SharedAccessKeyName=iothubowner;SharedAccessKey=" + otherKey: fault.Invalid, // no Dial here
	} {
		if err := w.Service.LinkHub(ctx, "x", text, 1); fault.KindOf(err) != want || strings.Contains(err.Error(), otherKey) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, weight := range []int{-1, provisioning.MaxWeight + 1} {
		if err := w.Service.WeighHub(ctx, pt.HubA, weight); fault.KindOf(err) != fault.Invalid {
			t.Errorf("weight %d: %v", weight, err)
		}
	}
	if err := w.Service.WeighHub(ctx, "nobody", 1); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
	if err := w.Service.WeighHub(ctx, "B.azure-devices.net", 7); err != nil {
		t.Error(err)
	}
	got, err := w.Service.LinkedHubs(ctx)
	if want := []provisioning.LinkedHub{{HostName: pt.HubB, Weight: 7, Here: true}, {HostName: pt.HubA, Weight: 1, Here: true}}; err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := w.Service.UnlinkHub(ctx, pt.HubB); err != nil {
		t.Error(err)
	}
	if err := w.Service.UnlinkHub(ctx, pt.HubB); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
}
