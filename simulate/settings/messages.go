package settings

import (
	"encoding/base64"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/simulate/loosejson"
	"github.com/isthmus-io/isthmus/simulate/message"
	"github.com/isthmus-io/isthmus/simulate/template"
)

// messages reads what devices send.
func (r *reader) messages() {
	r.intervals()
	r.out.MessageCount = r.number("MessageCount", 100, 0, 1<<31-1)
	r.out.DuplicateEvery = r.number("DuplicateEvery", 0, 0, 1<<31-1)
	if r.out.DuplicateEvery == 1 {
		r.refuse("DuplicateEvery", r.get("DuplicateEvery").from, "1 would send the first message for ever").advise("2 repeats every second message on average")
	}
	before := len(r.problems)
	vars := r.variables()
	if vars == nil {
		return
	}
	recipe := &message.Recipe{Variables: vars}
	if n := r.get("Payloads"); len(n.children) > 0 {
		recipe.Payloads = r.payloads(n, vars)
	} else {
		if n.set {
			r.note("Payloads has an effect in a file only")
		}
		recipe.Payloads = r.simplePayloads(vars)
	}
	if h := r.get("Header"); strings.TrimSpace(h.text) != "" {
		recipe.Header = vars.Compile(h.text)
	}
	if k := r.get("PartitionKey"); strings.TrimSpace(k.text) != "" {
		r.note("PartitionKey has no effect: a hub puts all messages of one device into one partition")
	}
	if len(r.problems) > before {
		return
	}
	recipe.Prepare()
	if len(r.out.Devices) > 0 {
		if err := recipe.Check(r.out.Devices[0], rand.New(rand.NewPCG(1, 1))); err != nil { //nolint:gosec // values to look at, not secrets
			name, what, _ := strings.Cut(fault.Message(err), ": ")
			r.refuse(name, r.get(name).from, "%s", what).advise(fault.Next(err))
		}
	}
	r.out.Recipe = recipe
}

// variables reads the list of them: as JSON in one text, or as the elements of a file.
func (r *reader) variables() *template.Variables {
	n := r.get("Variables")
	if !n.set && len(n.children) == 0 || n.set && strings.TrimSpace(n.text) == "" && len(n.children) == 0 {
		one, step := 1.0, 1
		return r.declare(n, []template.Variable{{Name: "Counter", Min: &one, Step: &step}})
	}
	if len(n.children) == 0 {
		v, err := loosejson.Parse(n.text)
		if err != nil {
			r.refuse("Variables", n.from, "it is no JSON: %v", err)
			return nil
		}
		if v.Kind != loosejson.Array {
			r.refuse("Variables", n.from, "it is no JSON list").advise(`it reads [{"name": "Temp", "random": true, "min": 23, "max": 25}]`)
			return nil
		}
		from := n.from
		n = &node{key: "Variables", from: from}
		n.take(v, from, asDotNet)
	}
	var list []template.Variable
	before := len(r.problems)
	for i, c := range n.sorted() {
		list = append(list, r.variable("Variables["+strconv.Itoa(i)+"]", c))
	}
	if len(r.problems) > before {
		return nil
	}
	return r.declare(n, list)
}

func (r *reader) declare(n *node, list []template.Variable) *template.Variables {
	machine := r.in.Machine
	if machine == "" {
		machine, _ = os.Hostname() // an empty name is one, too
	}
	v, err := template.NewVariables(list, machine)
	if err != nil {
		name, what, _ := strings.Cut(fault.Message(err), ": ")
		r.refuse(name, n.origin(), "%s", what)
		return nil
	}
	return v
}

func (r *reader) variable(path string, n *node) (v template.Variable) {
	for _, c := range n.sorted() {
		field, from := path+"."+c.key, c.origin()
		float := func(to **float64) {
			if f, err := strconv.ParseFloat(strings.TrimSpace(c.text), 64); err == nil {
				*to = &f
			} else if strings.TrimSpace(c.text) != "" { // null
				r.refuse(field, from, "%.60q is no number", c.text)
			}
		}
		whole := func(to **int) {
			if i, err := strconv.ParseInt(strings.TrimSpace(c.text), 10, 32); err == nil {
				n := int(i)
				*to = &n
			} else if strings.TrimSpace(c.text) != "" {
				r.refuse(field, from, "%.60q is no whole number", c.text)
			}
		}
		flag := func(to *bool) {
			var err error
			if *to, err = strconv.ParseBool(strings.ToLower(strings.TrimSpace(c.text))); err != nil && c.text != "" {
				r.refuse(field, from, "%.60q is neither true nor false", c.text)
			}
		}
		switch strings.ToLower(c.key) {
		case "name":
			v.Name = c.text
		case "random":
			flag(&v.Random)
		case "randomdouble":
			flag(&v.RandomDouble)
		case "sequence":
			flag(&v.Sequence)
		case "min":
			float(&v.Min)
		case "max":
			float(&v.Max)
		case "step":
			whole(&v.Step)
		case "customlengthstring":
			whole(&v.Length)
		case "values":
			for _, e := range c.sorted() {
				if e.set {
					v.Values = append(v.Values, e.text)
				} else {
					r.refuse(field+"["+e.key+"]", from, "a value is a text, a number, true or false").advise("write lists and objects as a text in quotes")
				}
			}
			if c.set && strings.TrimSpace(c.text) != "" {
				r.refuse(field, from, "it is no list")
			}
		default:
			r.note("%s is no property of a variable and has no effect", field)
		}
	}
	return v
}

// simplePayloads reads bodies from the settings that are one text each.
func (r *reader) simplePayloads(vars *template.Variables) []message.Payload {
	preset := vars.Compile(r.text("Template", defaultTemplate))
	if n := r.get("PayloadDistribution"); strings.TrimSpace(n.text) != "" {
		list := r.distribution(n, vars, preset)
		r.shares("PayloadDistribution", n.from, list)
		return list
	}
	if n := r.get("FixPayload"); strings.TrimSpace(n.text) != "" {
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(n.text))
		if err != nil {
			r.refuse("FixPayload", n.from, "it is not base64")
		}
		r.fits("FixPayload", n.from, len(b))
		return []message.Payload{{Share: 100, Fixed: b}}
	}
	if size := r.number("FixPayloadSize", 0, 0, message.MaxSize); size > 0 {
		return []message.Payload{{Share: 100, Fixed: make([]byte, size)}}
	}
	return []message.Payload{{Share: 100, Template: preset}}
}

func (r *reader) fits(name, from string, size int) {
	if size > message.MaxSize {
		r.refuse(name, from, "a body of %d bytes is larger than the %d a hub takes", size, message.MaxSize)
	}
}

// shares checks that bodies are shared out whole.
func (r *reader) shares(name, from string, list []message.Payload) {
	sums, order := map[string]int{}, []string{}
	for _, p := range list {
		if sums[p.Device] == 0 {
			order = append(order, p.Device)
		}
		sums[p.Device] += p.Share
	}
	for _, device := range order {
		of := ""
		if device != "" {
			of = " of " + device
		}
		switch sum := sums[device]; {
		case sum < 100:
			r.refuse(name, from, "the shares%s add up to %d percent, not to 100", of, sum)
		case sum > 100:
			r.note("%s: the shares%s add up to %d percent; what is above 100 is never sent", name, of, sum)
		}
	}
}

// payloads reads the list of bodies in a file.
func (r *reader) payloads(n *node, vars *template.Variables) []message.Payload {
	var list []message.Payload
	for i, c := range n.sorted() {
		path := "Payloads[" + strconv.Itoa(i) + "]"
		p := message.Payload{Device: c.at("deviceId").text, Share: 100}
		if d := c.at("distribution"); strings.TrimSpace(d.text) != "" {
			share, err := strconv.Atoi(strings.TrimSpace(d.text))
			if p.Share = share; err != nil || share < 1 || share > 100 {
				r.refuse(path+".distribution", d.from, "%.40q is not a percentage of 1 to 100", d.text)
			}
		}
		switch kind := c.at("type"); kind.text {
		case "template":
			if text, ok := r.body(path, "template", c); ok {
				p.Template = vars.Compile(text)
			}
		case "fix":
			if text, ok := r.body(path, "value", c); ok {
				p.Fixed = []byte(text)
				r.fits(path+".value", kind.from, len(text))
			}
		default:
			r.refuse(path+".type", c.origin(), "%.40q is unknown: it is template or fix", kind.text)
		}
		list = append(list, p)
	}
	r.shares("Payloads", n.origin(), list)
	known := map[string]bool{}
	for _, id := range r.out.Devices {
		known[id] = true
	}
	for i, p := range list {
		if p.Device != "" && !known[p.Device] && len(list) > 1 {
			r.note("Payloads[%d] is for %s, which is not simulated", i, p.Device)
		}
	}
	return list
}

// body reads a text, or JSON that stands where the text would.
func (r *reader) body(path, name string, n *node) (string, bool) {
	c := n.at(name)
	switch {
	case len(c.children) > 0:
		return c.flat(), true
	case c.text != "" && (strings.TrimSpace(c.text) != "" || name == "value"):
		return c.text, true
	}
	r.refuse(path+"."+name, n.origin(), "it is missing")
	return "", false
}
