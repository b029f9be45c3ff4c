//go:build wasip1

package main

import (
	"encoding/json"
	"unsafe"
)

func main() {} // a reactor: nothing runs until it is called

// in and out are the batch and the answer. They are kept here so that the garbage collector leaves them alone while the bridge uses them.
var in, out []byte

// alloc gives the bridge a place for a batch.
//
//go:wasmexport isthmus_alloc
func alloc(size uint32) unsafe.Pointer {
	in = make([]byte, max(size, 1))
	return unsafe.Pointer(unsafe.SliceData(in))
}

// event is what the function reads of one; Body stays as it is but for what is added.
type event struct {
	Body map[string]json.RawMessage `json:"body"`
}

// process answers a batch, and returns where the answer is and how long.
//
//go:wasmexport isthmus_process
func process(_ unsafe.Pointer, size uint32) uint64 {
	var batch []event
	if err := json.Unmarshal(in[:size], &batch); err != nil {
		panic(err) // the bridge gives the events one by one then
	}
	answer := make([]any, len(batch))
	for i := range batch {
		answer[i] = convert(&batch[i])
	}
	out, _ = json.Marshal(answer)
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(out))))<<32 | uint64(len(out))
}

func convert(e *event) any {
	raw, there := e.Body["celsius"]
	if !there {
		return []event{}
	}
	var celsius float64
	if err := json.Unmarshal(raw, &celsius); err != nil {
		return map[string]string{"refused": "celsius is no number"}
	}
	e.Body["fahrenheit"], _ = json.Marshal(celsius*9/5 + 32)
	return []event{*e}
}
