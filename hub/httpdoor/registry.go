package httpdoor

import (
	"encoding/json"
	"strconv"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

const (
	maxDeviceBody = 64 << 10
	maxTop        = 1000
)

func getIdentity(x *exchange) error {
	return x.answer(x.hub.Identity(x.Context(), x.identity()))
}

// answer shows an identity.
func (x *exchange) answer(d hub.Device, err error) error {
	if err != nil {
		return err
	}
	waiting, err := x.hub.Depth(x.Context(), d.Name())
	if err != nil {
		return err
	}
	x.setETag(d.ETag)
	return x.reply(x.shown(d, waiting))
}

func putIdentity(x *exchange) error {
	b, err := x.body(maxDeviceBody)
	if err != nil {
		return err
	}
	given, err := readIdentity(b, x.identity())
	if err != nil {
		return err
	}
	if match := x.ifMatch(); match != "" {
		return x.answer(x.hub.UpdateDevice(x.Context(), given, match))
	}
	return x.answer(x.hub.CreateDevice(x.Context(), given))
}

// readIdentity reads what is to be known of the identity that the path names.
func readIdentity(b []byte, n hub.Name) (hubstore.Device, error) {
	var out hubstore.Device
	if n.IsModule() {
		var j moduleJSON
		if err := json.Unmarshal(b, &j); err != nil {
			return out, notJSON(err)
		}
		out = j.store()
	} else {
		var j deviceJSON
		if err := json.Unmarshal(b, &j); err != nil {
			return out, notJSON(err)
		}
		out = j.store()
	}
	if (out.ID != "" && out.ID != n.Device) || (out.Module != "" && out.Module != n.Module) {
		return out, fault.Newf("httpdoor.readIdentity", fault.Invalid, "the body is of %s and the path says %s", out.Name().Words(), n.Words())
	}
	out.ID, out.Module = n.Device, n.Module
	return out, nil
}

func deleteIdentity(x *exchange) error {
	if err := x.hub.DeleteIdentity(x.Context(), x.identity(), x.ifMatch()); err != nil {
		return err
	}
	return x.nothing()
}

func listDevices(x *exchange) error {
	top, err := x.top(maxTop)
	if err != nil {
		return err
	}
	return x.answerAll(x.hub.Devices(x.Context(), x.URL.Query().Get("after"), top))
}

func listModules(x *exchange) error {
	return x.answerAll(x.hub.Modules(x.Context(), x.device))
}

func (x *exchange) answerAll(list []hub.Device, err error) error {
	if err != nil {
		return err
	}
	out := make([]any, len(list)) // an empty list is [], which SDKs count on
	if len(list) > 0 {
		waiting, err := x.hub.Depths(x.Context(), list[0].ID, list[len(list)-1].ID)
		if err != nil {
			return err
		}
		for i, d := range list {
			out[i] = x.shown(d, waiting[d.Name()])
		}
	}
	return x.reply(out)
}

// top reads how many are asked for.
func (x *exchange) top(most int) (int, error) {
	s := x.URL.Query().Get("top")
	if s == "" {
		return most, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		return 0, fault.Newf("httpdoor.top", fault.Invalid, "top is %.20q", s).Advise("it is a number from 1 to %d", most)
	}
	return n, nil
}

func countDevices(x *exchange) error {
	total, disabled, err := x.hub.Count(x.Context())
	if err != nil {
		return err
	}
	return x.reply(map[string]int{"totalDeviceCount": total, "enabledDeviceCount": total - disabled, "disabledDeviceCount": disabled})
}

func countConnected(x *exchange) error {
	return x.reply(map[string]int{"connectedDeviceCount": x.hub.Connected()})
}

func listConnections(x *exchange) error { return x.reply(x.hub.Connections()) }
