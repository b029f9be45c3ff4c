package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
)

// maxInput bounds what is read; every hub refuses less.
const maxInput = 16 << 20

// input is a text that a command is given: behind its other arguments, in a file, or on standard input.
type input struct {
	w    *world
	what string // "the patch"
	file string
}

func addInput(w *world, c *cobra.Command, what string) *input {
	d := &input{w: w, what: what}
	c.Flags().StringVarP(&d.file, "file", "f", "", "`FILE` with "+what+"; - for standard input")
	return d
}

// text returns it, nil when there is none. args are what stands behind the other arguments.
func (d *input) text(args []string) ([]byte, error) {
	switch {
	case len(args) > 0 && d.file != "":
		return nil, usagef("%s is given twice: as an argument and in %s", d.what, d.file).advise("give it once")
	case len(args) > 0 && args[0] != "-":
		return []byte(args[0]), nil
	case len(args) == 0 && d.file == "":
		return nil, nil
	}
	var r io.Reader = d.w.in
	if d.file != "" && d.file != "-" {
		f, err := os.Open(d.file)
		if err != nil {
			return nil, fault.Wrap("isthmus.input", fault.NotFound, err, d.what+" cannot be read: "+err.Error())
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	switch {
	case err != nil:
		return nil, fault.Wrap("isthmus.input", fault.Unavailable, err, d.what+" cannot be read: "+err.Error())
	case len(b) > maxInput:
		return nil, fault.Newf("isthmus.input", fault.TooLarge, "%s is larger than %d bytes", d.what, maxInput)
	}
	return bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), nil
}

// json is text that must be JSON.
func (d *input) json(args []string) (json.RawMessage, error) {
	b, err := d.text(args)
	if err != nil || b == nil {
		return nil, err
	}
	return json.RawMessage(bytes.TrimSpace(b)), d.check(b)
}

// check tells where a text stops being JSON.
func (d *input) check(b []byte) error {
	var v json.RawMessage
	err := json.Unmarshal(b, &v)
	if err == nil {
		return nil
	}
	e := fault.Newf("isthmus.input", fault.Invalid, "%s is not JSON: %v", d.what, err).Because(err)
	if s, ok := errors.AsType[*json.SyntaxError](err); ok && s.Offset > 0 {
		before := b[:min(int(s.Offset), len(b))]
		line := 1 + bytes.Count(before, []byte("\n"))
		column := len(before) - (bytes.LastIndexByte(before, '\n') + 1)
		e = fault.Newf("isthmus.input", fault.Invalid, "%s is not JSON: %v (line %d, column %d)", d.what, err, line, column).Because(err)
	}
	return e.Advise(`write it as '{"interval": 10}', in single quotes so that the shell leaves it alone`)
}

// object reads a document whose fields are all known, and teaches what belongs there.
func (d *input) object(b json.RawMessage, shape string, known ...string) (map[string]json.RawMessage, error) {
	var out map[string]json.RawMessage
	if err := json.Unmarshal(b, &out); err != nil || out == nil {
		return nil, fault.Newf("isthmus.input", fault.Invalid, "%s is no JSON object", d.what).Advise("write %s", shape)
	}
	for _, name := range sortedNames(out) {
		if !hasFolded(known, name) {
			return nil, fault.Newf("isthmus.input", fault.Invalid, "%s has %q, which means nothing there", d.what, name).Advise("write %s", shape)
		}
	}
	return out, nil
}

func hasFolded(list []string, s string) bool {
	for _, item := range list {
		if strings.EqualFold(item, s) {
			return true
		}
	}
	return false
}
