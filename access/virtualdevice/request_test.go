package virtualdevice

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestRequests(t *testing.T) {
	good := "$iothub/streams/POST/ssh/?$rid=1a&$url=wss%3A%2F%2Fh%3A443%2Fbridges%2Fx%2By&$auth=a.b.c"
	if a, err := readRequest(good); err != nil || a != (asked{"ssh", "1a", "wss://h:443/bridges/x+y", "a.b.c"}) {
		t.Errorf("%+v, %v", a, err)
	}
	for name, c := range map[string]struct {
		topic    string
		answered bool // it can be told no
	}{
		"another topic": {"$iothub/methods/POST/ssh/?$rid=1", false},
		"a slash":       {"$iothub/streams/POST/a/b/?$rid=1&$url=wss%3A%2F%2Fh&$auth=x", false},
		"no query":      {"$iothub/streams/POST/ssh", false},
		"no id":         {"$iothub/streams/POST/ssh/?$url=wss%3A%2F%2Fh&$auth=x", false},
		"a long id":     {"$iothub/streams/POST/ssh/?$rid=" + strings.Repeat("1", 65), false},
		"no token":      {"$iothub/streams/POST/ssh/?$rid=1&$url=wss%3A%2F%2Fh", true},
		"a long token":  {"$iothub/streams/POST/ssh/?$rid=1&$url=wss%3A%2F%2Fh&$auth=" + strings.Repeat("x", 9<<10), true},
		"no address":    {"$iothub/streams/POST/ssh/?$rid=1&$auth=x", true},
		"not encoded":   {"$iothub/streams/POST/ssh/?$rid=1&$url=%zz&$auth=x", false},
		"in the clear":  {"$iothub/streams/POST/ssh/?$rid=1&$url=ws%3A%2F%2Fh&$auth=x", true},
		"a user":        {"$iothub/streams/POST/ssh/?$rid=1&$url=wss%3A%2F%2Fu%40h&$auth=x", true},
	} {
		a, err := readRequest(c.topic)
		if err == nil || c.answered != (a.rid != "" && len(a.rid) <= maxRID) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add("$iothub/streams/POST/ssh/?$rid=1a&$url=wss%3A%2F%2Fh%3A443%2Fbridges%2Fx&$auth=a.b.c")
	f.Add("$iothub/streams/POST//?$rid=&$url=%&$auth")
	f.Fuzz(func(t *testing.T, topic string) {
		a, err := readRequest(topic)
		if err == nil && (a.rid == "" || a.token == "" || !strings.HasPrefix(strings.ToLower(a.url), "wss://") || strings.Contains(a.name, "/")) {
			t.Errorf("%+v", a)
		}
	})
}

// Whatever stands in a twin, what is made of it can be carried out, and what is reported can be written there.
func FuzzTwin(f *testing.F) {
	f.Add(`{"desired":{"virtualDevices":{"a":{"hub":"h","id":"x","key":"AAAA","streams":{"s":"127.0.0.1:1"}},"b c":{"enabled":null}}},"reported":{"virtualDevices":{"z":1}}}`)
	f.Add(`{"desired":{"virtualDevices":[1]},"reported":{"virtualDevices":"x"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		desired, was, err := readTwin([]byte(text))
		if err != nil {
			return
		}
		none := func(string) string { return "" }
		var now []Status
		for _, d := range overlay([]Device{{Name: "a", Hub: "h", ID: "own", Key: "AAAA"}}, none, desired) {
			id, _ := d.identify(none)
			name, _ := d.label(id)
			now = append(now, Status{Name: name, Device: id.client(), Problem: text})
		}
		change, is := patch(was, now)
		if change != nil && !json.Valid(change) {
			t.Errorf("%s", change)
		}
		if again, _ := patch(is, now); again != nil {
			t.Errorf("reported twice: %s", again)
		}
		if len(is) == 0 {
			t.Error("the process's own device is not reported")
		}
	})
}
