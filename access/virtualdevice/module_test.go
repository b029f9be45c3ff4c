package virtualdevice_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/virtualdevice"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// runAs runs the process's work with an environment until the test ends.
func (w *world) runAs(log *slog.Logger, variables ...string) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	variables = append(variables, virtualdevice.VariableCA+"="+w.CAFile)
	go func() {
		ended <- virtualdevice.Run(ctx, virtualdevice.Config{Dial: w.dial, Lookup: func(string) string { return "" }, Report: 20 * time.Millisecond}, variables, log, clock.System{})
	}()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
}

// want writes desired properties of the module edge/streams.
func (w *world) want(patch string) {
	w.t.Helper()
	if _, err := w.Hub(hubtest.Contoso).PatchTwin(w.t.Context(), hub.Name{Device: "edge", Module: "streams"}, []byte(`{"properties":{"desired":`+patch+`}}`), hub.AnyETag); err != nil {
		w.t.Fatal(err)
	}
}

type reported struct {
	Device    string  `json:"device"`
	Enabled   bool    `json:"enabled"`
	Connected bool    `json:"connected"`
	Sessions  int     `json:"sessions"`
	Problem   *string `json:"problem"`
}

// reports waits until the reported properties are as they should be.
func (w *world) reports(is func(map[string]reported) bool) {
	w.t.Helper()
	var text json.RawMessage
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		known, err := w.Hub(hubtest.Contoso).Twin(w.t.Context(), hub.Name{Device: "edge", Module: "streams"})
		if err != nil {
			w.t.Fatal(err)
		}
		if text, err = json.Marshal(known); err != nil {
			w.t.Fatal(err)
		}
		var twin struct {
			Properties struct {
				Reported struct {
					VirtualDevices map[string]reported `json:"virtualDevices"`
				} `json:"reported"`
			} `json:"properties"`
		}
		if err := json.Unmarshal(text, &twin); err != nil {
			w.t.Fatal(err)
		}
		if is(twin.Properties.Reported.VirtualDevices) {
			return
		}
	}
	w.t.Fatalf("the twin is %s", text)
}

// log keeps what is logged, to look for keys in it.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestAModuleFollowsItsTwin(t *testing.T) {
	w := newWorld(t, nil)
	w.Device(hubtest.Contoso, "edge")
	module := w.Module(hubtest.Contoso, "edge", "streams")
	at := target(t, "tcp", echo)
	own, other := w.Device(hubtest.Contoso, "own"), w.Device(hubtest.Contoso, "other")
	var said log
	w.want(`{"virtualDevices":{"other":{"connectionString":"` + w.connection(other) + `","streams":{"echo":"` + at + `"}},"wrong":{"color":"red"}}}`)
	w.runAs(slog.New(slog.NewTextHandler(&said, nil)), "EdgeHubConnectionString="+w.connection(module),
		`ISTHMUS_VIRTUAL_DEVICE_OWN={"connectionString":"`+w.connection(own)+`","streams":{"echo":"`+at+`"}}`)
	w.reports(func(r map[string]reported) bool {
		return r["own"].Connected && r["other"].Connected && r["other"].Device == "other" && r["own"].Enabled && r["wrong"].Problem != nil && strings.Contains(*r["wrong"].Problem, "no field")
	})
	s := w.open("own", "echo")
	exchange(t, s, "hello")
	exchange(t, w.open("other", "echo"), "hello")
	w.reports(func(r map[string]reported) bool { return r["own"].Sessions == 1 && r["other"].Sessions == 1 })

	w.want(`{"virtualDevices":{"own":{"streams":{"dead":"127.0.0.1:1","echo":"` + at + `"}},"other":{"enabled":false},"wrong":null}}`)
	w.reports(func(r map[string]reported) bool {
		_, wrong := r["wrong"]
		return !r["other"].Enabled && !r["other"].Connected && !wrong
	})
	exchange(t, s, "still there")
	reject(w, "own", "dead")
	w.reports(func(r map[string]reported) bool {
		return r["own"].Problem != nil && strings.Contains(*r["own"].Problem, "dead")
	})
	w.want(`{"virtualDevices":null}`)
	w.reports(func(r map[string]reported) bool { _, gone := r["other"]; return !gone && r["own"].Problem == nil })
	exchange(t, s, "and still")
	for _, key := range []string{module.PrimaryKey, own.PrimaryKey, other.PrimaryKey} {
		if strings.Contains(said.String(), key) {
			t.Error("a key is in the log")
		}
	}
}

// workload plays the runtime of IoT Edge.
func workload(t *testing.T, key, bundle string) (address string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "workload.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("api-version") != "2018-06-28" {
			t.Errorf("%s", r.URL)
		}
		switch r.Method + " " + r.URL.Path {
		case "GET /trust-bundle":
			_ = json.NewEncoder(rw).Encode(map[string]string{"certificate": bundle})
		case "POST /modules/streams/genid/7/sign":
			var q struct{ KeyID, Algo, Data string }
			body, _ := io.ReadAll(r.Body)
			_ = json.Unmarshal(body, &q)
			data, err := base64.StdEncoding.DecodeString(q.Data)
			if err != nil || q.KeyID != "primary" || q.Algo != "HMACSHA256" {
				t.Errorf("%s", body)
			}
			k, _ := base64.StdEncoding.DecodeString(key)
			m := hmac.New(sha256.New, k)
			m.Write(data)
			_ = json.NewEncoder(rw).Encode(map[string]string{"digest": base64.StdEncoding.EncodeToString(m.Sum(nil))})
		default:
			t.Errorf("%s %s", r.Method, r.URL)
			rw.WriteHeader(http.StatusNotFound)
		}
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return "unix://" + path
}

func TestAModuleOfADeviceHasNoKey(t *testing.T) {
	w := newWorld(t, nil)
	w.Device(hubtest.Contoso, "edge")
	module := w.Module(hubtest.Contoso, "edge", "streams")
	d := w.Device(hubtest.Contoso, "press-4")
	pem, err := os.ReadFile(w.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	w.want(`{"virtualDevices":{"press-4":{"connectionString":"` + w.connection(d) + `","streams":{"echo":"` + target(t, "tcp", echo) + `"}}}}`)
	w.runAs(hubtest.Silent(), "IOTEDGE_WORKLOADURI="+workload(t, module.PrimaryKey, string(pem)), "IOTEDGE_DEVICEID=edge", "IOTEDGE_MODULEID=streams",
		"IOTEDGE_MODULEGENERATIONID=7", "IOTEDGE_IOTHUBHOSTNAME="+hubtest.Contoso, "IOTEDGE_GATEWAYHOSTNAME="+hubtest.Contoso, "IOTEDGE_AUTHSCHEME=sasToken")
	w.reports(func(r map[string]reported) bool { return r["press-4"].Connected })
	exchange(t, w.open("press-4", "echo"), "hello")
}

func TestAnEnvironmentThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "devices.json")
	if err := os.WriteFile(file, []byte("SECRET"), 0o600); err != nil {
		t.Fatal(err)
	}
	const edge = "IOTEDGE_IOTHUBHOSTNAME=h IOTEDGE_DEVICEID=d IOTEDGE_MODULEID=m IOTEDGE_WORKLOADURI="
	for name, c := range map[string]struct{ variables, says string }{
		"nothing":       {"", "names no virtual device"},
		"no twin":       {"EdgeHubConnectionString=x ISTHMUS_VIRTUAL_DEVICES_TWIN=off", "names no virtual device"},
		"half a twin":   {"ISTHMUS_VIRTUAL_DEVICES_TWIN=half", "neither on nor off"},
		"no JSON":       {"ISTHMUS_VIRTUAL_DEVICES=SECRET", "cannot be read"},
		"no list":       {`ISTHMUS_VIRTUAL_DEVICES={}`, "cannot be read"},
		"more":          {`ISTHMUS_VIRTUAL_DEVICES=[]SECRET`, "cannot be read"},
		"a field":       {`ISTHMUS_VIRTUAL_DEVICES=[{"hup":"h"}]`, `there is no field "hup"`},
		"both":          {"ISTHMUS_VIRTUAL_DEVICES=[] ISTHMUS_VIRTUAL_DEVICES_FILE=x", "are both set"},
		"no file":       {"ISTHMUS_VIRTUAL_DEVICES_FILE=/not/there", "cannot be read"},
		"a file":        {"ISTHMUS_VIRTUAL_DEVICES_FILE=" + file, "cannot be read"},
		"no authority":  {"ISTHMUS_VIRTUAL_DEVICES_CA=" + file, "holds no certificate"},
		"no such CA":    {"ISTHMUS_VIRTUAL_DEVICES_CA=/not/there", "cannot be read"},
		"too many":      {"ISTHMUS_VIRTUAL_DEVICES=[" + strings.Repeat("{},", 1000) + "{}]", "there are 1001 devices"},
		"no module":     {"EdgeHubConnectionString=SECRET", "no connection string"},
		"its authority": {"EdgeHubConnectionString=x EdgeModuleCACertificateFile=/not/there", "cannot be read"},
		"no socket":     {edge + "tcp://x", "neither unix"},
		"x509":          {edge + "unix:///x IOTEDGE_AUTHSCHEME=x509", "not sasToken"},
		"no hub":        {"IOTEDGE_WORKLOADURI=unix:///x", "is missing"},
	} {
		err := virtualdevice.Run(t.Context(), virtualdevice.Config{}, strings.Fields(c.variables), hubtest.Silent(), clock.System{})
		k := fault.KindOf(err)
		if k != fault.Invalid && k != fault.TooLarge || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error()+fault.Next(err), "SECRET") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOneWrongVariableHarmsNoOther(t *testing.T) {
	w := newWorld(t, nil)
	d := w.Device(hubtest.Contoso, "press-4")
	w.runAs(hubtest.Silent(), "ISTHMUS_VIRTUAL_DEVICE_WRONG={", `ISTHMUS_VIRTUAL_DEVICE_PRESS_4={"hub":"`+hubtest.Contoso+`","id":"press-4","key":"`+d.PrimaryKey+`","streams":{"echo":"`+target(t, "tcp", echo)+`"}}`)
	for deadline := time.Now().Add(patience); ; <-time.After(20 * time.Millisecond) {
		if known, err := w.Hub(hubtest.Contoso).Device(t.Context(), "press-4"); err != nil || time.Now().After(deadline) {
			t.Fatal("it does not connect", err)
		} else if known.Connected {
			break
		}
	}
	exchange(t, w.open("press-4", "echo"), "hello")
}
