package main

import (
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
)

func newHubTwin(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "twin", Aliases: []string{"twins"}, Short: "Show and change twins of devices and modules",
		Long: `A twin is what the hub knows of a device or a module: tags, which only services see; desired properties, which services write and the device reads; and reported
properties, which the device writes.`,
		Example: `  isthmus hub twin show sensor-1
  isthmus hub twin patch sensor-1 --tag plant=43 --desired interval=10`,
	}
	c.AddCommand(newTwinShow(w), newTwinPatch(w), newTwinReplace(w))
	return c
}

// twinView is what people are shown of a twin.
type twinView struct {
	DeviceID   string          `json:"deviceId"`
	ModuleID   string          `json:"moduleId"`
	ETag       string          `json:"etag"`
	Version    int64           `json:"version"`
	Status     string          `json:"status"`
	State      string          `json:"connectionState"`
	Activity   string          `json:"lastActivityTime"`
	ModelID    string          `json:"modelId"`
	Tags       json.RawMessage `json:"tags"`
	Properties struct {
		Desired  json.RawMessage `json:"desired"`
		Reported json.RawMessage `json:"reported"`
	} `json:"properties"`
}

func newTwinShow(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "show DEVICE[/MODULE]", Short: "Show a twin, desired beside reported", Args: cobra.ExactArgs(1),
		Long: `Show a twin. At a terminal the properties stand side by side, and those which the device has not reported as they are desired stand out. As JSON it is what the
hub's API answers, with metadata.`,
		Example: `  isthmus hub twin show sensor-1
  isthmus hub twin show press-4/camera -o json | jq .properties.reported`,
	}
	a := toHub(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.ValidArgsFunction = completeIdentities(a, false)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		text, err := hub.TwinDocument(c.Context(), args[0])
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, text)
		}
		var v twinView
		if err := json.Unmarshal(text, &v); err != nil {
			return fault.Wrap("isthmus.twin", fault.Unavailable, err, "the hub's answer is no twin")
		}
		w.printTwin(v)
		return nil
	})
	return c
}

func (w *world) printTwin(v twinView) {
	name := hubclient.Device{ID: v.DeviceID, ModuleID: v.ModuleID}.Name()
	w.pairs([2]string{"Twin", name}, [2]string{"Model", v.ModelID}, [2]string{"Status", v.Status}, [2]string{"Connection", v.State},
		[2]string{"Last activity", w.hubTime(v.Activity)}, [2]string{"Version", itoa(int(v.Version)) + ", etag " + v.ETag})
	tags := leavesOf(v.Tags)
	if len(tags) > 0 {
		var rows [][]cell
		for _, k := range sortedNames(tags) {
			rows = append(rows, cells(k, tags[k]))
		}
		w.printf("\n")
		w.table([]string{"TAG", "VALUE"}, rows)
	}
	desired, reported := leavesOf(v.Properties.Desired), leavesOf(v.Properties.Reported)
	all := map[string]bool{}
	for k := range desired {
		all[k] = true
	}
	for k := range reported {
		all[k] = true
	}
	var rows [][]cell
	waiting := 0
	for _, k := range sortedNames(all) {
		r := cells(k, desired[k], reported[k])
		if d, ok := desired[k]; ok && d != reported[k] {
			r[1].colour = yellow
			waiting++
		}
		rows = append(rows, r)
	}
	if len(rows) > 0 {
		w.printf("\n")
		w.table([]string{"PROPERTY", "DESIRED", "REPORTED"}, rows)
	}
	if waiting > 0 {
		w.note("not reported as desired: %d of %d desired properties", waiting, len(desired))
	}
}

// leavesOf flattens a part of a twin: path of a value -> its text, without what the hub adds.
func leavesOf(part json.RawMessage) map[string]string {
	out := map[string]string{}
	var walk func(path string, v json.RawMessage)
	walk = func(path string, v json.RawMessage) {
		var object map[string]json.RawMessage
		if json.Unmarshal(v, &object) != nil || len(object) == 0 {
			out[path] = plainText(v)
			return
		}
		for k, sub := range object {
			walk(path+"."+k, sub)
		}
	}
	var top map[string]json.RawMessage
	if json.Unmarshal(part, &top) != nil {
		return out
	}
	for k, v := range top {
		if !strings.HasPrefix(k, "$") {
			walk(k, v)
		}
	}
	return out
}

// twinEdits are the flags and texts that say what a twin shall be.
type twinEdits struct {
	input   *input
	tags    []string
	desired []string
	match   string
}

func addTwinEdits(w *world, c *cobra.Command) *twinEdits {
	e := &twinEdits{input: addInput(w, c, "the change")}
	e.addFlags(c)
	c.Flags().StringVar(&e.match, "if-match", hubclient.Any, "change it only while it has this `ETAG`")
	return e
}

func (e *twinEdits) addFlags(c *cobra.Command) {
	c.Flags().StringArrayVar(&e.tags, "tag", nil, "`PATH=VALUE` of a tag; the value is JSON, or a text where it is none; null takes the tag away; may be given several times")
	c.Flags().StringArrayVar(&e.desired, "desired", nil, "`PATH=VALUE` of a desired property, in the same way")
}

const twinShape = `'{"tags": {"plant": 43}, "properties": {"desired": {"interval": 10}}}'`

// twin returns what was said of it; args are what stands behind the identity.
func (e *twinEdits) twin(args []string) (hubclient.Twin, error) {
	var t hubclient.Twin
	text, err := e.input.json(args)
	if err != nil {
		return t, err
	}
	if text == nil {
		if len(e.tags)+len(e.desired) == 0 {
			return t, usagef("nothing is to be changed").advise("give --tag plant=43, --desired interval=10, or %s", twinShape)
		}
		if t.Tags, err = nest("tag", e.tags); err != nil {
			return t, err
		}
		t.Properties.Desired, err = nest("desired", e.desired)
		return t, err
	}
	if len(e.tags)+len(e.desired) > 0 {
		return t, usagef("--tag and --desired have no place beside a whole document").advise("give one or the other")
	}
	// What the hub shows of a twin may be given back.
	fields, err := e.input.object(text, twinShape, "tags", "properties", "deviceId", "moduleId", "etag", "version", "modelId", "deviceEtag", "status", "statusReason",
		"statusUpdateTime", "connectionState", "connectionStateUpdatedTime", "lastActivityTime", "cloudToDeviceMessageCount", "authenticationType", "x509Thumbprint",
		"capabilities", "deviceScope", "parentScopes", "configurations", "modulesConfigurations")
	if err != nil {
		return t, err
	}
	if fields["properties"] != nil {
		if _, err := e.input.object(fields["properties"], twinShape, "desired", "reported"); err != nil {
			return t, err
		}
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return t, fault.Newf("isthmus.twin", fault.Invalid, "the change is no twin: %v", err).Advise("write %s", twinShape)
	}
	return hubclient.Twin{Tags: t.Tags, Properties: hubclient.TwinProperties{Desired: t.Properties.Desired}}, nil
}

func newTwinPatch(w *world) *cobra.Command {
	return newTwinChange(w, "patch", "Change parts of a twin; what is not named stays",
		`Change parts of a twin: what is named becomes that, null takes it away, everything else stays. A device that is connected and listens is told of desired properties at
once, others when they read their twin.`,
		`  isthmus hub twin patch sensor-1 --tag location.floor=2 --desired interval=10 --desired debug=null
  isthmus hub twin patch press-4/camera '{"properties": {"desired": {"exposure": {"ms": 8}}}}'
  isthmus hub twin patch sensor-1 --file change.json`, "changed", (*hubclient.Client).PatchTwin)
}

func newTwinReplace(w *world) *cobra.Command {
	return newTwinChange(w, "replace", "Replace tags, desired properties, or both, as a whole",
		`Replace a twin: the tags that are given become all its tags, and the desired properties all its desired properties; a part that is not given stays. Reported
properties are the device's alone.`,
		`  isthmus hub twin show sensor-1 -o json > twin.json
  isthmus hub twin replace sensor-1 --file twin.json`, "replaced", (*hubclient.Client).ReplaceTwin)
}
