package main

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/manifest"
	"github.com/isthmus-io/isthmus/resource"
)

// follow looks again and again and prints what changed, until the user interrupts. A server that is away for a while is waited for.
func (g *getting) follow(ctx context.Context, s *session, kinds []resource.Kind, names []string, seen []resource.Object) error {
	before := index(seen)
	away := false
	for {
		fired, stop := g.w.clock.After(g.every)
		select {
		case <-ctx.Done():
			stop()
			return nil
		case <-fired:
		}
		objects, err := g.fetch(ctx, s, kinds, names)
		switch kind := fault.KindOf(err); {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the user interrupted, which is how watching ends
		case err != nil && (kind == fault.Unavailable || kind == fault.Timeout):
			if !away {
				g.w.note("%s; trying again", fault.Message(err))
			}
			away = true
			continue
		case err != nil && (kind != fault.NotFound || len(names) == 0):
			return err
		}
		if away {
			g.w.note("%s answers again", s.server)
			away = false
		}
		after := index(objects)
		for _, o := range objects {
			key := o.Head().Key()
			was, had := before[key]
			switch {
			case !had:
				err = g.event("added", o)
			case !bytes.Equal(was.text, after[key].text):
				err = g.event("changed", o)
			default:
				continue
			}
			if err != nil {
				return err
			}
		}
		for key, was := range before {
			if _, has := after[key]; !has {
				if err := g.event("removed", was.object); err != nil {
					return err
				}
			}
		}
		before = after
	}
}

type indexed struct {
	object resource.Object
	text   []byte
}

func index(objects []resource.Object) map[resource.Key]indexed {
	out := make(map[resource.Key]indexed, len(objects))
	for _, o := range objects {
		b, _ := json.Marshal(o) // it came from JSON
		out[o.Head().Key()] = indexed{o, b}
	}
	return out
}

// event prints one change: a row without heads for people, one JSON object a line or one YAML document for programs.
func (g *getting) event(what string, o resource.Object) error {
	w := g.w
	switch g.out.format {
	case outJSON:
		b, err := json.Marshal(struct {
			Event  string          `json:"event"`
			Object resource.Object `json:"object"`
		}{what, o})
		if err != nil {
			return fault.Wrap("isthmus.watch", fault.Internal, err, "")
		}
		w.printJSON(b)
	case outYAML:
		w.printf("---\n# %s\n", what)
		return manifest.Encode(w.out, o)
	case outName:
		w.printf("%s %s\n", what, o.Head().Key().Path())
	default:
		_, rows := w.columns(o.Head().Kind, []resource.Object{o}, g.out.format == outWide)
		heads := make([]string, len(rows[0])+1)
		mark := map[string]colour{"added": green, "changed": yellow, "removed": red}[what]
		w.table(heads, [][]cell{append([]cell{{what, mark}}, rows[0]...)})
	}
	return nil
}
