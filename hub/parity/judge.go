package parity

import (
	"hash/maphash"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/azureexport"
)

const (
	maxExamples   = 5
	maxRefusals   = 20   // examples of what is refused
	maxCandidates = 1000 // names without keys that are remembered until all files are read
	maxExample    = 200  // bytes
)

// Judge sees everything that is to be imported. It is for one goroutine.
type Judge struct {
	files    []File
	findings map[rule]*Finding
	seed     maphash.Seed
	seen     map[uint64]bits   // of identities, by a hash of the name
	keyless  []string          // names without keys, as examples
	orphans  []string          // twins whose identity was not seen, as examples
	parents  map[string]string // of devices that name one
	hubs     map[string]bool
	certs    map[string]bool // authorities by kind and name
	names    map[string]bool // configurations, groups, enrollments by kind and name
	vouched  int             // devices that show a certificate of an authority
	verified int             // authorities
}

// bits are what is known of an identity.
type bits uint8

const (
	known  bits = 1 << iota // the identity, not only its twin
	proven                  // its keys or certificate
	keyed                   // it is to have keys
	twinned
	reported
	again // a second proof was counted
	isDevice
)

// New returns a Judge that has seen nothing.
func New() *Judge {
	return &Judge{
		findings: map[rule]*Finding{}, seed: maphash.MakeSeed(), seen: map[uint64]bits{}, parents: map[string]string{}, hubs: map[string]bool{}, certs: map[string]bool{},
		names: map[string]bool{},
	}
}

// Begin says that a file is read now.
func (j *Judge) Begin(file string) { j.files = append(j.files, File{Name: file}) }

// Broken says that the file cannot be read on.
func (j *Judge) Broken(err error) {
	if n := len(j.files); n > 0 {
		j.files[n-1].Error = fault.Message(err)
		if next := fault.Next(err); next != "" {
			j.files[n-1].Error += "; " + next
		}
	}
}

// See judges a thing.
func (j *Judge) See(at azureexport.At, t azureexport.Thing) {
	switch t := t.(type) {
	case *azureexport.Identity:
		j.holds(string(t.Shape))
		j.identity(t)
	case *azureexport.Configuration:
		j.holds("configurations")
		j.configuration(t)
	case *azureexport.Hub:
		j.holds("a hub's settings")
		j.hub(t)
	case *azureexport.Authority:
		j.holds("authorities")
		j.authority(t)
	case *azureexport.ConsumerGroup:
		j.holds("consumer groups")
		if j.first("group", t.Endpoint+"/"+t.Name) && t.Name != "$Default" {
			j.note(groups, t.Name, nil)
		}
	case *azureexport.Enrollment:
		j.holds("enrollments")
		j.enrollment(t)
	case *azureexport.Service:
		j.holds("a provisioning service's settings")
		j.service(t)
	case *azureexport.Other:
		j.holds("other things")
		if strings.HasPrefix(t.What, "registrations") {
			j.note(registrations, t.What, nil)
			return
		}
		if strings.Contains(strings.ToLower(t.What), "microsoft.eventhub/") {
			j.note(eventHubs, t.What, nil)
			return
		}
		j.note(others, t.What, nil)
	case *azureexport.Wrong:
		j.holds("things that cannot be read")
		j.note(wrongs, j.place(at), t.Err)
	}
}

func (j *Judge) place(at azureexport.At) string {
	if n := len(j.files); n > 1 {
		return j.files[n-1].Name + ", " + at.String()
	}
	return at.String()
}

// holds counts a thing of the file that is read.
func (j *Judge) holds(form string) {
	if len(j.files) == 0 {
		j.Begin("")
	}
	f := &j.files[len(j.files)-1]
	f.Things++
	if !slices.Contains(f.Holds, form) {
		f.Holds = append(f.Holds, form)
	}
}

// first tells whether a thing of a kind is met for the first time.
func (j *Judge) first(kind, name string) bool {
	key := kind + " " + name
	if j.names[key] {
		return false
	}
	j.names[key] = true
	return true
}

// note counts something; why is given for what is refused.
func (j *Judge) note(r rule, example string, why error) {
	f := j.findings[r]
	if f == nil {
		one := catalogue(r)
		f = &one
		j.findings[r] = f
	}
	f.Count++
	most := maxExamples
	if why != nil {
		most = maxRefusals
		example += ": " + fault.Message(why)
		if f.Next == "" {
			f.Next = fault.Next(why)
		}
	}
	if len(example) > maxExample {
		example = strings.ToValidUTF8(example[:maxExample], "") + "…"
	}
	if example != "" && len(f.Examples) < most && !slices.Contains(f.Examples, example) {
		f.Examples = append(f.Examples, example)
	}
}

// Parents returns, by device, the edge device it names as its parent.
func (j *Judge) Parents() map[string]string { return j.parents }

// Knows tells whether a file holds the identity of that name, as "device" or "device/module".
func (j *Judge) Knows(name string) bool { return j.seen[maphash.String(j.seed, name)]&known != 0 }

// Report returns what was found until now.
func (j *Judge) Report() Report {
	all := map[rule]*Finding{}
	for r, f := range j.findings {
		one := *f
		one.Examples = slices.Clone(f.Examples)
		all[r] = &one
	}
	at := func(r rule, n int, examples []string) {
		if n > 0 {
			one := catalogue(r)
			one.Count, one.Examples = n, examples[:min(len(examples), maxExamples)]
			all[r] = &one
		}
	}
	made, orphaned, total, deviceCount := 0, 0, 0, 0
	for _, b := range j.seen {
		switch {
		case b&known == 0:
			orphaned++
		case b&(keyed|proven) == keyed:
			made++
		}
		if b&known != 0 {
			total++
		}
		if b&known != 0 && b&isDevice != 0 {
			deviceCount++
		}
	}
	still := func(names []string, is func(bits) bool) []string {
		return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !is(j.seen[maphash.String(j.seed, n)]) })
	}
	at(newKeys, made, still(j.keyless, func(b bits) bool { return b&(keyed|proven|known) == keyed|known }))
	at(orphanTwins, orphaned, still(j.orphans, func(b bits) bool { return b&known == 0 }))
	at(newGenerations, total, nil)
	at(everyDevice, deviceCount, nil)
	if j.verified == 0 {
		at(noAuthority, j.vouched, nil)
	}
	var elsewhere []string
	n := 0
	for device, parent := range j.parents {
		if !j.Knows(parent) {
			n++
			elsewhere = append(elsewhere, device+" behind "+parent)
		}
	}
	slices.Sort(elsewhere)
	at(parentElsewhere, n, elsewhere)
	if len(j.hubs) > 1 {
		at(severalHubs, len(j.hubs), keys(j.hubs))
	}
	return Report{Files: slices.Clone(j.files), Findings: order(all)}
}

func keys(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func itoa(n int) string { return strconv.Itoa(n) }
