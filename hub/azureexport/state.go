package azureexport

import (
	"encoding/json"
	"maps"
	"slices"
)

// stateEntry is a device of az iot hub state export. Its id is the key it stands under.
type stateEntry struct {
	Identity json.RawMessage
	Twin     json.RawMessage
	Parent   string
	Modules  map[string]struct{ Identity, Twin json.RawMessage }
}

func readState(id string, text []byte, each func(At, Thing) error) error {
	at := At{Path: "devices." + id}
	var e stateEntry
	if err := json.Unmarshal(text, &e); err != nil {
		return each(at, wrong("azureexport.state", err, "device "+id))
	}
	if len(e.Identity) == 0 { // the first versions wrote the twin with the keys in it
		return recognise(at, text, each)
	}
	if err := each(at, stateIdentity(id, "", e.Parent, e.Identity, e.Twin)); err != nil {
		return err
	}
	for _, m := range slices.Sorted(maps.Keys(e.Modules)) {
		if err := each(At{Path: at.Path + ".modules." + m}, stateIdentity(id, m, "", e.Modules[m].Identity, e.Modules[m].Twin)); err != nil {
			return err
		}
	}
	return nil
}

func stateIdentity(device, module, parent string, identity, twin json.RawMessage) Thing {
	var o, t object
	err := json.Unmarshal(identity, &o)
	if err == nil && len(twin) > 0 {
		err = json.Unmarshal(twin, &t)
	}
	o.DeviceID, o.ModuleID = device, module
	if err != nil {
		return wrong("azureexport.state", err, o.words())
	}
	o.Tags, o.Properties = t.Tags, t.Properties
	if o.Status == "" {
		o.Status = t.Status
	}
	if o.ModelID == "" {
		o.ModelID = t.ModelID
	}
	i := o.identity()
	if i == nil {
		return &Other{"something with an id and nothing else"}
	}
	i.Shape = StateShape
	if i.Parent = parent; parent != "" { // a scope would be that of a device of the other hub
		i.DeviceScope, i.ParentScopes = "", nil
	}
	return i
}
