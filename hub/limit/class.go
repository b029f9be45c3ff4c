package limit

import (
	"encoding/json"
	"fmt"

	"github.com/isthmus-io/isthmus/fault"
)

// Class is a kind of thing that is counted.
type Class uint8

// Classes. The unit is one call unless it is said otherwise.
const (
	Connects    Class = iota // sessions begun
	Messages                 // sent by devices, each begun 4 KiB of body a unit (IoT Hub: quotas, message meter)
	TwinReads                //
	TwinUpdates              //
	Methods                  // direct methods called
	Commands                 // cloud-to-device messages sent
	Receives                 // cloud-to-device messages asked for over HTTPS
	Registry                 // identities read or changed; each one of a bulk request a unit
	Queries                  //
	Jobs                     // operations upon jobs and configurations, not what they do to devices
	Uploads                  // of files, begun

	classes = int(Uploads) + 1
)

var classNames = [classes]string{
	"connects", "messages", "twinReads", "twinUpdates", "methods", "commands", "commandReceives", "registry", "queries", "jobs", "uploads",
}

// what a class is in a sentence.
var classWords = [classes]string{
	"connecting", "messages", "reading twins", "changing twins", "calling methods", "cloud-to-device messages", "asking for cloud-to-device messages",
	"registry operations", "queries", "jobs and configurations", "file uploads",
}

// Classes lists every class.
func Classes() []Class {
	out := make([]Class, classes)
	for i := range out {
		out[i] = Class(i)
	}
	return out
}

// String returns the name of the class in settings and metrics, such as "twinUpdates".
func (c Class) String() string { return classNames[c] }

// Words returns what the class is in a sentence, such as "changing twins".
func (c Class) Words() string { return classWords[c] }

// Level says whose allowance it is.
type Level uint8

const (
	None   Level = iota // nobody's: admitted
	Device              // or a module's
	OfHub
	Tenant

	levels = int(Tenant) + 1
)

// String returns "device", "hub" or "tenant".
func (l Level) String() string { return [levels]string{"none", "device", "hub", "tenant"}[l] }

// Rate is an allowance. The zero value is no limit.
type Rate struct {
	PerSecond float64 `json:"perSecond"` // units, on average
	Burst     float64 `json:"burst"`     // units at once; 0 is two seconds' worth, at least 1
}

func (r Rate) burst() float64 {
	if r.Burst > 0 {
		return r.Burst
	}
	return max(1, 2*r.PerSecond)
}

// Rates are allowances by class. In JSON they are an object by the names of classes; a class that is not there has no limit, a name
// that is no class is an error.
type Rates [classes]Rate

// MarshalJSON implements json.Marshaler.
func (r Rates) MarshalJSON() ([]byte, error) {
	out := map[string]Rate{}
	for i, one := range r {
		if one.PerSecond > 0 {
			out[classNames[i]] = Rate{one.PerSecond, one.burst()}
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON implements json.Unmarshaler. Classes that are not named keep what they are.
func (r *Rates) UnmarshalJSON(b []byte) error {
	var in map[string]Rate
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
names:
	for name, one := range in {
		for i, n := range classNames {
			if n == name {
				r[i] = one
				continue names
			}
		}
		return fmt.Errorf("%.40q is no class of limits", name)
	}
	return nil
}

// Limits are those of one hub: of each of its devices and modules, and of all together.
type Limits struct {
	Device Rates `json:"device"`
	Hub    Rates `json:"hub"`
}

// Defaults returns limits that no fleet in good health comes near on the machines a hub is for, and that end what runs away.
func Defaults() Limits {
	var l Limits
	for _, d := range []struct {
		of          Class
		device, hub Rate
	}{
		{Connects, Rate{2, 60}, Rate{10_000, 20_000}},
		{Messages, Rate{5_000, 10_000}, Rate{1_000_000, 2_000_000}},
		{TwinReads, Rate{500, 1_000}, Rate{50_000, 100_000}},
		{TwinUpdates, Rate{500, 1_000}, Rate{50_000, 100_000}},
		{Methods, Rate{500, 1_000}, Rate{50_000, 100_000}},
		{Commands, Rate{500, 1_000}, Rate{50_000, 100_000}},
		{Receives, Rate{100, 200}, Rate{50_000, 100_000}},
		{Registry, Rate{}, Rate{10_000, 20_000}},
		{Queries, Rate{}, Rate{1_000, 2_000}},
		{Jobs, Rate{}, Rate{500, 1_000}},
		{Uploads, Rate{10, 50}, Rate{2_000, 4_000}},
	} {
		l.Device[d.of], l.Hub[d.of] = d.device, d.hub
	}
	return l
}

// DefaultTenant returns the limits of a tenant: twice those of a hub.
func DefaultTenant() Rates {
	out := Defaults().Hub
	for i := range out {
		out[i].PerSecond *= 2
		out[i].Burst *= 2
	}
	return out
}

// Check tells whether the limits make sense. Invalid when a number is negative or too large, or a device's allowance is larger than
// half of its hub's, since then one device alone could take it from all others.
func (l Limits) Check() error {
	const most = 1e9
	for i := range classes {
		d, h, name := l.Device[i], l.Hub[i], classNames[i]
		for _, n := range []float64{d.PerSecond, d.Burst, h.PerSecond, h.Burst} {
			if !(n >= 0 && n <= most) { // NaN too
				return fault.Newf("limit.Check", fault.Invalid, "the limit of %s is %g", name, n).Advise("a limit is a number from 0, which is none, to %g", most)
			}
		}
		for _, r := range []Rate{d, h} {
			if r.PerSecond > 0 && (r.PerSecond < 0.001 || r.burst() < 1) {
				return fault.Newf("limit.Check", fault.Invalid, "the limit of %s lets hardly anything pass", name).
					Advise("perSecond is at least 0.001 and burst at least 1; to keep a device out, disable it")
			}
		}
		if d.PerSecond > 0 && h.PerSecond > 0 && (2*d.PerSecond > h.PerSecond || 2*d.burst() > h.burst()) {
			return fault.Newf("limit.Check", fault.Invalid, "one device may use more than half of what the whole hub has of %s", name).
				Advise("a device's perSecond and burst are at most half of the hub's, so that one device cannot take it from all others")
		}
	}
	return nil
}
