package settings

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/simulate/loosejson"
)

// Input is where settings come from.
type Input struct {
	Environ []string          // as os.Environ gives it
	Flags   map[string]string // by name of the setting
	Machine string            // what MachineName yields; this host's name when empty
	// Part limits what is asked for: a command that only creates devices needs no message.
	Part Part
}

// Part is how much of a simulation is wanted.
type Part uint8

const (
	Everything  Part = iota
	DevicesOnly      // which devices, of which hub; a policy's connection string is needed
)

// maxFile bounds a settings file: some 100,000 devices with intervals of their own.
const maxFile = 16 << 20

// reader collects settings and what is wrong with them.
type reader struct {
	in       Input
	table    []Definition
	tree     *node
	problems []problem
	out      *Settings
}

type problem struct{ text, next string }

// Read reads and checks settings. Its error is Invalid, with one line for each setting that is wrong.
func Read(in Input) (*Settings, error) {
	r := &reader{in: in, table: Table(), tree: &node{}, out: &Settings{}}
	r.environment()
	if err := r.file(); err != nil {
		return nil, err
	}
	for name, text := range in.Flags {
		d, ok := find(r.table, name)
		if !ok {
			continue
		}
		r.forget(d)
		r.tree.make(d.Name).put(text, "--"+d.Flag)
	}
	r.hub()
	r.devices()
	if in.Part == Everything {
		r.messages()
		r.way()
		r.course()
		r.together()
	}
	if len(r.problems) == 0 {
		return r.out, nil
	}
	lines := make([]string, len(r.problems))
	next := ""
	for i, p := range r.problems {
		lines[i] = p.text
		if next == "" {
			next = p.next
		}
	}
	text := lines[0]
	if len(lines) > 1 {
		text = strconv.Itoa(len(lines)) + " settings are wrong\n" + strings.Join(lines, "\n")
	}
	return nil, fault.New("settings.Read", fault.Invalid, text).Advise("%s", next)
}

// forget removes a setting and its aliases, for one that replaces it whole.
func (r *reader) forget(d Definition) {
	for _, name := range append([]string{d.Name}, d.Alias...) {
		delete(r.tree.children, strings.ToLower(name))
	}
}

func (r *reader) environment() {
	const from = "the environment"
	for _, item := range r.in.Environ {
		name, text, _ := strings.Cut(item, "=")
		if d, ok := r.ours(name); ok {
			r.tree.make(d.Name).put(text, name+" in "+from)
			continue
		}
		path := strings.ReplaceAll(name, "__", ":")
		first, _, _ := strings.Cut(path, ":")
		if d, ok := find(r.table, first); ok && strings.HasPrefix(d.Env, envPrefix) || path == "" || strings.HasPrefix(path, ":") || strings.HasSuffix(path, ":") {
			continue // a name of ours without its prefix is somebody else's
		}
		r.tree.make(path).put(text, from)
	}
}

func (r *reader) ours(env string) (Definition, bool) {
	for _, d := range r.table {
		if strings.HasPrefix(env, envPrefix) && d.Env == env {
			return d, true
		}
	}
	return Definition{}, false
}

// file lays the settings file over the environment. One that cannot be read ends it all: what else is wrong nobody could say.
func (r *reader) file() error {
	op := "settings.file"
	name, from := r.in.Flags["File"], "--file"
	if name == "" {
		n := r.tree.at("File")
		name, from = n.text, n.from
	}
	if strings.TrimSpace(name) == "" {
		return nil
	}
	info, err := os.Stat(name)
	if err == nil && info.Size() > maxFile {
		return fault.Newf(op, fault.Invalid, "File: %s has %d bytes, at most %d are read (%s)", name, info.Size(), maxFile, from)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return fault.Wrap(op, fault.Invalid, err, "File: it cannot be read: "+err.Error()+" ("+from+")")
	}
	v, err := loosejson.Parse(string(text))
	if err != nil {
		return fault.Newf(op, fault.Invalid, "File: %s is no JSON: %v", name, err)
	}
	if v.Kind != loosejson.Object {
		return fault.Newf(op, fault.Invalid, "File: %s holds no JSON object", name)
	}
	r.tree.take(v, name, asWritten)
	named := strings.FieldsFunc(r.tree.at("PayloadDistribution").text, func(c rune) bool { return strings.ContainsRune("(),; \t\r\n", c) })
	for _, m := range v.Members {
		first, _, _ := strings.Cut(m.Name, ":")
		_, known := find(r.table, first)
		if !known && !slices.ContainsFunc(named, func(n string) bool { return strings.EqualFold(n, first) }) {
			r.note("%q in %s is no setting and has no effect", m.Name, name)
		}
	}
	return nil
}

func (r *reader) note(format string, args ...any) {
	r.out.Notes = append(r.out.Notes, fault.Newf("", 0, format, args...).Message)
}

// refuse notes a setting that is wrong; from may be empty.
func (r *reader) refuse(name, from, format string, args ...any) *problem {
	text := name + ": " + fault.Newf("", 0, format, args...).Message
	if from != "" {
		text += " (" + from + ")"
	}
	r.problems = append(r.problems, problem{text: text})
	return &r.problems[len(r.problems)-1]
}

func (p *problem) advise(next string) { p.next = next }

// get finds a setting under its name or an alias.
func (r *reader) get(name string) *node {
	n := r.tree.at(name)
	if d, ok := find(r.table, name); ok && !n.exists() {
		for _, a := range d.Alias {
			if n := r.tree.at(a); n.exists() {
				return n
			}
		}
	}
	return n
}

// text returns a setting, or preset where it is blank.
func (r *reader) text(name, preset string) string {
	if s := r.get(name).text; strings.TrimSpace(s) != "" {
		return s
	}
	return preset
}

// number reads a whole number of least to most.
func (r *reader) number(name string, preset, least, most int) int {
	n := r.get(name)
	text := strings.TrimSpace(n.text)
	if text == "" {
		return preset
	}
	v, err := strconv.Atoi(text)
	switch {
	case err != nil:
		r.refuse(name, n.from, "%.60q is no whole number", text)
	case v < least:
		r.refuse(name, n.from, "%d is too small: it is at least %d", v, least)
	case v > most:
		r.refuse(name, n.from, "%d is too large: it is at most %d", v, most)
	default:
		return v
	}
	return preset
}

func (r *reader) yes(name string) bool {
	n := r.get(name)
	switch strings.ToLower(strings.TrimSpace(n.text)) {
	case "true", "1", "yes":
		return true
	case "", "false", "0", "no":
	default:
		r.refuse(name, n.from, "%.60q is neither true nor false", n.text)
	}
	return false
}

// duration reads a time such as 90s; 0 is allowed when least is.
func (r *reader) duration(name string, preset, least, most time.Duration) time.Duration {
	n := r.get(name)
	text := strings.TrimSpace(n.text)
	if text == "" {
		return preset
	}
	d, err := time.ParseDuration(text)
	if err != nil && text != "0" {
		r.refuse(name, n.from, "%.60q is no time: write 90s, 15m or 2h", text)
		return preset
	}
	if d < least || d > most {
		r.refuse(name, n.from, "%s is out of range: it is %s to %s", text, least, most)
		return preset
	}
	return d
}
