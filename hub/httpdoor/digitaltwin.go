package httpdoor

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/twin"
)

// A digital twin is a twin seen by the conventions of IoT Plug and Play: an object of properties and components, where an object that has
// "__t":"c" is a component, and a reported property that answers a desired one is {"value":..,"ac":..,"av":..,"ad":..}.
const (
	componentMark = "__t"
	componentIs   = "c"
)

func getDigitalTwin(x *exchange) error {
	t, err := x.hub.Twin(x.Context(), x.identity())
	if err != nil {
		return err
	}
	out, err := digitalTwin(t)
	if err != nil {
		return err
	}
	x.setETag(t.ETag())
	return x.reply(out)
}

func digitalTwin(t hub.Twin) (map[string]any, error) {
	b, err := t.JSON()
	if err != nil {
		return nil, fault.Wrap("httpdoor.digitalTwin", fault.Internal, err, "")
	}
	var in struct {
		Properties struct{ Desired, Reported map[string]any }
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&in); err != nil {
		return nil, fault.Wrap("httpdoor.digitalTwin", fault.Internal, err, "")
	}
	desired, reported := in.Properties.Desired, in.Properties.Reported
	out := component(desired, reported, object(desired["$metadata"]), object(reported["$metadata"]))
	out["$dtId"] = t.ID
	object(out["$metadata"])["$model"] = t.Model
	return out, nil
}

// object returns an object, or nil for anything else: reading from it then finds nothing.
func object(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func component(desired, reported, desiredMeta, reportedMeta map[string]any) map[string]any {
	meta := map[string]any{}
	out := map[string]any{"$metadata": meta}
	each := func(key string) {
		want, wanted := desired[key]
		has, given := reported[key]
		wantMeta, hasMeta := object(desiredMeta[key]), object(reportedMeta[key])
		if object(want)[componentMark] == componentIs || object(has)[componentMark] == componentIs {
			out[key] = component(object(want), object(has), wantMeta, hasMeta)
			return
		}
		about := map[string]any{}
		if wanted {
			about["desiredValue"], about["desiredVersion"] = want, wantMeta["$lastUpdatedVersion"]
			about["lastUpdateTime"] = wantMeta["$lastUpdated"]
		}
		if given {
			out[key] = acknowledged(has, about)
			about["lastUpdateTime"] = hasMeta["$lastUpdated"]
		}
		meta[key] = about
	}
	for key := range reported {
		if key[0] != '$' && key != componentMark {
			each(key)
		}
	}
	for key := range desired {
		if _, done := reported[key]; !done && key[0] != '$' && key != componentMark {
			each(key)
		}
	}
	return out
}

// acknowledged returns the value of a reported property and notes what the device said about it.
func acknowledged(v any, about map[string]any) any {
	o := object(v)
	value, ok := o["value"]
	if _, code := o["ac"]; !ok || !code {
		return v
	}
	for from, to := range map[string]string{"ac": "ackCode", "av": "ackVersion", "ad": "ackDescription"} {
		if a, said := o[from]; said {
			about[to] = a
		}
	}
	return value
}

// operation is one of a JSON patch (RFC 6902) of a digital twin.
type operation struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value"`
}

func patchDigitalTwin(x *exchange) error {
	var list []operation
	if err := x.decode(twin.MaxBody, &list); err != nil {
		return err
	}
	patch, err := desiredPatch(list)
	if err != nil {
		return err
	}
	t, err := x.hub.PatchTwin(x.Context(), x.identity(), patch, x.ifMatch())
	if err != nil {
		return err
	}
	x.setETag(t.ETag())
	x.w.WriteHeader(http.StatusAccepted)
	return nil
}

// desiredPatch turns a JSON patch of a digital twin into a patch of the twin. The first segment of a longer path is a component: without
// the model nobody can tell it from a property that is an object, and this is what clients mean.
func desiredPatch(list []operation) ([]byte, error) {
	op := "httpdoor.desiredPatch"
	desired := map[string]any{}
	for _, o := range list {
		var value any
		switch o.Op {
		case "remove":
		case "add", "replace":
			if len(o.Value) == 0 {
				return nil, fault.Newf(op, fault.Invalid, "the operation on %.100q has no value", o.Path)
			}
			d := json.NewDecoder(bytes.NewReader(o.Value))
			d.UseNumber()
			if err := d.Decode(&value); err != nil {
				return nil, notJSON(err)
			}
		default:
			return nil, fault.Newf(op, fault.Invalid, "op is %.20q", o.Op).Advise("a digital twin knows add, replace and remove")
		}
		if m := object(value); m != nil {
			if _, whole := m["$metadata"]; whole { // a component with all it has
				delete(m, "$metadata")
				m[componentMark] = componentIs
			}
		}
		path, ok := strings.CutPrefix(o.Path, "/")
		if !ok || path == "" {
			return nil, fault.Newf(op, fault.Invalid, "the path %.100q is not that of a property", o.Path).Advise("write /property or /component/property")
		}
		if strings.Count(path, "/") > twin.MaxDepth { // before it is made, for each step of it costs a level of the stack
			return nil, fault.Newf(op, fault.Invalid, "the path %.100q has more than %d steps", o.Path, twin.MaxDepth+1)
		}
		put(desired, strings.Split(path, "/"), value)
	}
	b, err := json.Marshal(map[string]any{"properties": map[string]any{"desired": desired}})
	return b, fault.Wrap(op, fault.Internal, err, "")
}

func put(in map[string]any, path []string, value any) {
	for i, s := range path {
		s = strings.NewReplacer("~1", "/", "~0", "~").Replace(s) // RFC 6901, 4
		if i == len(path)-1 {
			in[s] = value
			return
		}
		next, ok := in[s].(map[string]any)
		if !ok {
			next = map[string]any{}
			in[s] = next
		}
		if i == 0 {
			next[componentMark] = componentIs
		}
		in = next
	}
}

// invokeCommand calls a command, which is a method; one of a component is called component*command.
func invokeCommand(x *exchange) error {
	payload, err := x.body(maxMethodBody)
	if err != nil {
		return err
	}
	r := hub.MethodRequest{Name: x.name, Payload: payload}
	if x.component != "" {
		r.Name = x.component + "*" + x.name
	}
	if len(bytes.TrimSpace(payload)) == 0 {
		r.Payload = nil
	}
	if r.Response, err = x.timeoutOf("responseTimeoutInSeconds", answerIn); err != nil {
		return err
	}
	if r.Connect, err = x.timeoutOf("connectTimeoutInSeconds", 0); err != nil {
		return err
	}
	out, err := x.invoke(r)
	if err != nil {
		return err
	}
	x.w.Header().Set("x-ms-command-statuscode", strconv.Itoa(out.Status))
	if len(out.Payload) == 0 {
		out.Payload = json.RawMessage("null")
	}
	return x.replyText(http.StatusOK, out.Payload)
}
