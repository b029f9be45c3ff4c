package message

import (
	"bytes"
	"encoding/json"
	"time"
)

// same tells whether metadata still has the value of a property.
func same(metadata, property any) bool {
	switch p := property.(type) {
	case []byte:
		b, ok := metadata.([]byte)
		return ok && bytes.Equal(b, p)
	case time.Time:
		s, ok := metadata.(string)
		return ok && s == shown(p)
	}
	switch metadata.(type) {
	case nil, string, int64, uint64, float64, bool:
		return metadata == property
	}
	return false
}

// plain is a value of the language as one of a property: scalars as they are, whole numbers as int64, all else as JSON.
func plain(v any) any {
	switch x := v.(type) {
	case nil, string, int64, uint64, float64, bool, []byte, time.Time:
		return v
	case int:
		return int64(x)
	case int32:
		return int64(x)
	case uint32:
		return int64(x)
	case float32:
		return float64(x)
	case json.Number:
		if n, err := x.Int64(); err == nil {
			return n
		}
		if f, err := x.Float64(); err == nil {
			return f
		}
		return x.String()
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return string(b)
}
