// Command fahrenheit is a function for bridges: a WebAssembly module that adds the temperature in degrees Fahrenheit to events that have it in degrees
// Celsius. Events whose celsius is no number are refused, those without it are left out.
//
// Build it, put it where the process that carries the bridge finds it, and name it with its hash in a step of the bridge:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o fahrenheit.wasm ./examples/functions/fahrenheit
//	sha256sum fahrenheit.wasm
//	cp fahrenheit.wasm /var/lib/isthmus/bridge/modules/
//
// It holds nothing between calls and starts no goroutines.
package main
