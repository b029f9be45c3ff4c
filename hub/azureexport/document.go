package azureexport

import (
	"encoding/json"
)

const (
	inObject = json.Delim('{')
	inArray  = json.Delim('[')
)

// document reads one document: a list, one thing, the file of az iot hub state export, or a template.
func (d *documents) document(first json.Token) error {
	switch first {
	case inArray:
		return d.array("")
	case inObject:
	default:
		return d.give(At{}, &Other{"JSON that is no object"})
	}
	rest := map[string]json.RawMessage{}
	size := 0
	err := d.object(func(key string) error {
		switch key {
		case "devices", "configurations", "modules", "value", "items":
			return d.many(key)
		case "arm":
			v, err := d.raw()
			if err != nil {
				return err
			}
			return readTemplate(At{Path: "arm"}, v, d.give)
		}
		v, err := d.raw()
		if size += len(v); err == nil && size > MaxThing {
			return tooLong().Err
		}
		rest[key] = v
		return err
	})
	if err != nil || len(rest) == 0 {
		return err
	}
	v, err := json.Marshal(rest)
	if err != nil {
		return err
	}
	if rest["resources"] != nil {
		return readTemplate(At{}, v, d.give)
	}
	if only(rest, "nextLink", "count", "$schema", "version") {
		return nil // around a list
	}
	return d.one(At{}, v)
}

func only(members map[string]json.RawMessage, keys ...string) bool {
	n := 0
	for _, k := range keys {
		if _, ok := members[k]; ok {
			n++
		}
	}
	return n == len(members)
}

// many reads a member that holds many things. In things other than documents something else has its name, and is passed over.
func (d *documents) many(key string) error {
	t, err := d.token()
	switch {
	case err != nil:
		return err
	case t == inArray && key != "modules":
		return d.array(key)
	case t != inObject:
		return d.pass(t)
	case key == "devices":
		return d.stateDevices()
	case key == "configurations":
		return d.stateConfigurations()
	case key == "modules":
		return d.oldModules()
	}
	return d.pass(t)
}

// stateDevices reads {"sensor-1": {"identity": .., "twin": .., "modules": {..}, "parent": ".."}, ..}.
func (d *documents) stateDevices() error {
	return d.object(func(id string) error {
		v, err := d.raw()
		if err != nil {
			return err
		}
		return readState(id, v, d.give)
	})
}

// stateConfigurations reads {"admConfigurations": {"id": {..}}, "edgeDeployments": {..}}. In a twin something else has that name.
func (d *documents) stateConfigurations() error {
	return d.object(func(key string) error {
		t, err := d.token()
		if err != nil {
			return err
		}
		if (key != "admConfigurations" && key != "edgeDeployments") || t != inObject {
			return d.pass(t)
		}
		return d.object(func(id string) error {
			v, err := d.raw()
			if err != nil {
				return err
			}
			return d.one(At{Path: "configurations." + key + "." + id}, v)
		})
	})
}

// oldModules reads what the first versions of az iot hub state export wrote: {"device": [[identity, twin], ..], ..}.
func (d *documents) oldModules() error {
	return d.object(func(id string) error {
		v, err := d.raw()
		if err != nil {
			return err
		}
		var list []json.RawMessage
		if json.Unmarshal(v, &list) != nil || len(list) == 0 {
			return nil
		}
		return d.give(At{Path: "modules." + id}, &Other{"modules as an old version of the extension wrote them"})
	})
}
