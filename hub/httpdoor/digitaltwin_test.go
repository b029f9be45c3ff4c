package httpdoor_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/httpdoor"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

func TestPatchOfADigitalTwin(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`[]`, `{}`},
		{`[{"op":"add","path":"/interval","value":7}]`, `{"interval":7}`},
		{`[{"op":"replace","path":"/a~1b~0","value":9007199254740993}]`, `{"a/b~":9007199254740993}`},
		{`[{"op":"remove","path":"/interval"}]`, `{"interval":null}`},
		{`[{"op":"add","path":"/t/target","value":21.5},{"op":"add","path":"/t/on","value":true}]`, `{"t":{"__t":"c","on":true,"target":21.5}}`},
		{`[{"op":"add","path":"/t","value":{"$metadata":{},"target":1}}]`, `{"t":{"__t":"c","target":1}}`},
		{`[{"op":"add","path":"/t/deep/er","value":{"x":1}}]`, `{"t":{"__t":"c","deep":{"er":{"x":1}}}}`},
		{`[{"op":"add","path":"/t","value":1},{"op":"add","path":"/t/u","value":2}]`, `{"t":{"__t":"c","u":2}}`},
		{`[{"op":"move","path":"/a","value":1}]`, ""},
		{`[{"op":"add","path":"/a"}]`, ""},
		{`[{"op":"add","path":"a","value":1}]`, ""},
		{`[{"op":"add","path":"/","value":1}]`, ""},
		{`[{"op":"add","path":"` + strings.Repeat("/a", 1000) + `","value":1}]`, ""},
	} {
		var list []httpdoor.Operation
		if err := json.Unmarshal([]byte(c.in), &list); err != nil {
			t.Fatal(err)
		}
		got, err := httpdoor.DesiredPatch(list)
		if c.want == "" {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%s: %s %v", c.in, got, err)
			}
		} else if want := `{"properties":{"desired":` + c.want + `}}`; string(got) != want {
			t.Errorf("%s: %s %v, want %s", c.in, got, err, want)
		}
	}
}

func FuzzPatchOfADigitalTwin(f *testing.F) {
	f.Add(`[{"op":"add","path":"/t/u","value":{"$metadata":1}},{"op":"remove","path":"/t"}]`)
	f.Add(`[{"op":"add","path":"//","value":null},{"op":"add","path":"//~2","value":1e400}]`)
	f.Fuzz(func(t *testing.T, text string) {
		var list []httpdoor.Operation
		if json.Unmarshal([]byte(text), &list) != nil {
			return
		}
		got, err := httpdoor.DesiredPatch(list)
		if err == nil && !json.Valid(got) {
			t.Errorf("%s", got)
		}
	})
}

func TestDigitalTwin(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	h, d := w.Hub(hubtest.Contoso), w.Device(hubtest.Contoso, "d")
	s, err := h.Connect(t.Context(), hub.Request{Device: "d", Token: w.Token(hubtest.Contoso, d), ModelID: "dtmi:x:y;1", Cut: func(hub.Cause) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.End()
	done := make(chan error, 1)
	s.PatchReported([]byte(`{"serial":"s1","interval":{"value":6,"ac":200,"av":2,"ad":"ok"},"odd":{"value":1},"t":{"__t":"c","temperature":20.5,"target":{"value":19,"ac":202,"av":1}}}`),
		func(_ int64, err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c, service := newCaller(t, w), w.ServiceToken(hubtest.Contoso, hub.PolicyService)
	status, hd, body := c.call("PATCH", "/digitaltwins/d"+version, service, `[{"op":"add","path":"/interval","value":7},{"op":"add","path":"/t/target","value":21}]`)
	if status != 202 || body != "" || hd.Get("ETag") == "" {
		t.Fatalf("%d %v %s", status, hd, body)
	}
	if status, _, body := c.call("PATCH", "/digitaltwins/d"+version, service, `[]`, "If-Match", `"stale"`); status != 412 {
		t.Errorf("%d %s", status, body)
	}
	status, get, body := c.call("GET", "/digitaltwins/d"+version, service, "")
	if status != 200 || get.Get("ETag") != hd.Get("ETag") {
		t.Fatalf("%d %v %s", status, get, body)
	}
	var got struct {
		ID       string `json:"$dtId"`
		Serial   string
		Interval int
		Odd      struct{ Value int }
		Metadata struct {
			Model            string `json:"$model"`
			Interval, Serial struct {
				DesiredValue, DesiredVersion, AckCode, AckVersion int
				AckDescription, LastUpdateTime                    string
			}
		} `json:"$metadata"`
		T struct {
			Temperature float64
			Target      int
			Metadata    struct {
				Target struct{ DesiredValue, DesiredVersion, AckCode int }
			} `json:"$metadata"`
			Mark any `json:"__t"`
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	m := got.Metadata.Interval
	if got.ID != "d" || got.Serial != "s1" || got.Interval != 6 || got.Odd.Value != 1 || got.Metadata.Model != "dtmi:x:y;1" || m.DesiredValue != 7 || m.DesiredVersion != 2 ||
		m.AckCode != 200 || m.AckVersion != 2 || m.AckDescription != "ok" || !strings.HasSuffix(m.LastUpdateTime, "Z") || got.Metadata.Serial.LastUpdateTime == "" {
		t.Errorf("%s", body)
	}
	if got.T.Temperature != 20.5 || got.T.Target != 19 || got.T.Metadata.Target.DesiredValue != 21 || got.T.Metadata.Target.AckCode != 202 || got.T.Mark != nil {
		t.Errorf("%s", body)
	}
}

func TestHeaderTexts(t *testing.T) {
	for in, want := range map[string]string{"plain": "plain", "°C": "\xb0C", "€": "€", "a\r\nb\x00": "a  b ", "": ""} {
		got := httpdoor.HeaderText(in)
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if in == "°C" && httpdoor.PlainText(got) != in {
			t.Errorf("%q comes back as %q", in, httpdoor.PlainText(got))
		}
	}
}

func FuzzHeaderTexts(f *testing.F) {
	f.Add("°C")
	f.Add("\xff\xfe\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(httpdoor.HeaderText(s), "\r\n\x00") {
			t.Errorf("%q", s)
		}
		if !utf8.ValidString(httpdoor.PlainText(s)) {
			t.Errorf("%q", s)
		}
	})
}
