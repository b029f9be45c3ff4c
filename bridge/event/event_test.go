package event

import "testing"

func TestIDs(t *testing.T) {
	for _, c := range []struct {
		origin Origin
		want   string
	}{
		{Origin{Partition: "0", Sequence: 12}, "b1/0/12"},
		{Origin{Partition: "31", Sequence: 9007199254740993, Index: 2}, "b1/31/9007199254740993/2"},
	} {
		e := Event{Origin: c.origin}
		id := e.ID("b1")
		bridge, o, ok := ParseID(id)
		if id != c.want || !ok || bridge != "b1" || o != c.origin {
			t.Errorf("%+v is %s, and back %s %+v %v", c.origin, id, bridge, o, ok)
		}
	}
	e := Event{Origin: Origin{Name: "window/60/120/ab"}}
	if id := e.ID("b1"); id != "b1/window/60/120/ab" {
		t.Errorf("a row is %s", id)
	}
	for _, bad := range []string{"", "b1", "b1/0", "b1/0/x", "b1/0/1/x", "b1/window/60/120/ab"} {
		if _, _, ok := ParseID(bad); ok {
			t.Errorf("%q is taken for an id", bad)
		}
	}
}

func TestProperties(t *testing.T) {
	list := Set(Set(nil, "a", "1"), "b", int64(2))
	list = Set(list, "a", true)
	if v, ok := Get(list, "a"); !ok || v != true || len(list) != 2 || Text(list, "b") != "" {
		t.Errorf("%+v", list)
	}
	if list = Remove(list, "a"); len(list) != 1 || list[0].Name != "b" {
		t.Errorf("%+v", list)
	}
	e := Event{Key: "k", System: []Property{{DeviceID, "press-4"}}}
	if e.Device() != "press-4" || (&Event{Key: "k"}).Device() != "k" {
		t.Error("whose event it is")
	}
}
