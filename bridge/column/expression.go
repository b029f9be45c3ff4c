package column

import (
	"regexp"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/message"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// Set is the expressions that look at the same events. Its zero value is empty.
type Set struct {
	texts []string
	list  []compiled
	tree  []node
	slots int
}

type compiled struct {
	run    *message.Expression
	slot   int // of the picker; -1 when the expression is more than a path
	device bool
}

// Expression is one of a set.
type Expression int

var simplePath = regexp.MustCompile(`^this(\.[A-Za-z_][A-Za-z0-9_]*)+$`)

// Add compiles an expression into the set; the same text is evaluated once for each event. Invalid says where it is wrong. added are the
// names that Look.With will have added when this expression is evaluated.
func (s *Set) Add(text string, added ...string) (Expression, error) {
	text = strings.TrimSpace(text)
	key := text + "\x00" + strings.Join(added, ",")
	if i := slices.Index(s.texts, key); i >= 0 {
		return Expression(i), nil
	}
	run, err := message.Compile(text)
	if err != nil {
		return 0, err
	}
	c := compiled{run: run, slot: -1, device: text == "@device"}
	if simplePath.MatchString(text) {
		path := strings.Split(text, ".")[1:]
		if !slices.Contains(added, path[0]) {
			c.slot = s.place(&s.tree, path)
		}
	}
	s.texts, s.list = append(s.texts, key), append(s.list, c)
	return Expression(len(s.list) - 1), nil
}

// AddColumn compiles what a column's value is: its expression, or the field of its name.
func (s *Set) AddColumn(c resource.Column, added ...string) (Expression, error) {
	text := c.Value
	if strings.TrimSpace(text) == "" {
		text = "this." + c.Name
	}
	x, err := s.Add(text, added...)
	if err != nil {
		return 0, fault.Wrap("column.Add", fault.Internal, err, "")
	}
	return x, nil
}

func (s *Set) place(tree *[]node, path []string) int {
	i := slices.IndexFunc(*tree, func(n node) bool { return n.name == path[0] })
	if i < 0 {
		*tree = append(*tree, node{name: path[0], slot: -1})
		i = len(*tree) - 1
	}
	n := &(*tree)[i]
	if len(path) > 1 {
		return s.place(&n.members, path[1:])
	}
	if n.slot < 0 {
		n.slot = s.slots
		s.slots++
	}
	return n.slot
}

// Look is one event after another as the expressions of a set see them.
type Look struct {
	set    *Set
	e      *event.Event
	view   *message.View
	pick   picker
	picked state
	with   []addition
	values []Value
	done   []bool
}

type state uint8

const (
	unread state = iota
	usual
	unusual // for the parser
)

type addition struct {
	name  string
	value any
}

// Look returns something to look at events with.
func (s *Set) Look() *Look {
	return &Look{set: s, values: make([]Value, len(s.list)), done: make([]bool, len(s.list))}
}

// At turns to an event, which must not change until the next.
func (l *Look) At(e *event.Event) {
	l.e, l.view, l.picked = e, nil, unread
	l.with = l.with[:0]
	clear(l.done)
}

// With adds a value that expressions find as this.NAME if they were compiled for it.
func (l *Look) With(name string, value any) { l.with = append(l.with, addition{name, value}) }

// Value evaluates an expression of the set. Errors are about the event.
func (l *Look) Value(x Expression) (Value, error) {
	if l.done[x] {
		return l.values[x], nil
	}
	v, err := l.value(&l.set.list[x])
	if err != nil {
		return Value{}, err
	}
	l.values[x], l.done[x] = v, true
	return v, nil
}

func (l *Look) value(c *compiled) (Value, error) {
	if c.device {
		if id := l.e.Device(); id != "" {
			return Value{Kind: Text, Text: id}, nil
		}
		return Value{}, nil
	}
	if c.slot >= 0 {
		if l.picked == unread {
			l.picked = unusual
			if l.pick.pick(l.e.Body, l.set.tree, l.set.slots) {
				l.picked = usual
			}
		}
		if l.picked == usual {
			if v, ok, err := l.pick.read(c.slot); ok {
				return v, err
			}
		}
	}
	if l.view == nil {
		l.view = message.Look(l.e)
	}
	for _, a := range l.with {
		if err := l.view.With(a.name, a.value); err != nil {
			return Value{}, err
		}
	}
	l.with = l.with[:0]
	got, err := l.view.Value(c.run)
	if err != nil {
		return Value{}, err
	}
	return FromAny(got)
}

// Bool evaluates a condition: anything but true or false is an error.
func (l *Look) Bool(x Expression) (bool, error) {
	v, err := l.Value(x)
	if err != nil {
		return false, err
	}
	if v.Kind != Bool {
		return false, fault.Newf("column.Bool", fault.Invalid, "the condition is %s, not true or false", v.Words())
	}
	return v.Bits != 0, nil
}
