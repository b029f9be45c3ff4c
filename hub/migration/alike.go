package migration

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// covers tells whether settings that hold are as they are to be; what is nil there is not said.
func covers[T any](now, wanted T) bool {
	a, b := reflect.ValueOf(now), reflect.ValueOf(wanted)
	for i := range b.NumField() {
		w := b.Field(i)
		if w.IsNil() {
			continue
		}
		n := a.Field(i)
		if n.IsNil() || !reflect.DeepEqual(n.Interface(), w.Interface()) {
			return false
		}
	}
	return true
}

// sameJSON compares documents, whatever the order of their keys. Nothing, null and {} are the same.
func sameJSON(a, b any) bool {
	x, err1 := canonical(a)
	y, err2 := canonical(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

func canonical(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var out any
	if err := d.Decode(&out); err != nil {
		return nil, err
	}
	return json.Marshal(bare(out))
}

// bare leaves out members that hold nothing.
func bare(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if x = bare(x); x == nil {
				delete(v, k)
			} else {
				v[k] = x
			}
		}
		if len(v) == 0 {
			return nil
		}
		return v
	case []any:
		for i, x := range v {
			v[i] = bare(x)
		}
		if len(v) == 0 {
			return nil
		}
	case string:
		if v == "" {
			return nil
		}
	}
	return v
}
